"""How do rows get through one librdkafka producer, and what became of each of them?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka.cimpl import KafkaError, KafkaException, Message, Producer

from django_eventbus.events.envelope import OutgoingRow, split_headers
from django_eventbus.exceptions import ConfigurationError

from .errors import ACKED, reason_of
from .logs import logger

NOT_PRODUCED = 1_000_000  # our own code, none of Kafka's: the row was held back
_SLICE = 0.2  # seconds; a longer flush sits out its deadline after a fatal error, and keeps signals waiting

DeliveryCallback = Callable[[KafkaError | None, Message], None]


@dataclass(slots=True, kw_only=True)
class Reports:
    """What became of rows: ids in the order of their acknowledgement, and the code of every other row."""

    acked: list[int] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)

    def add(self, other: Reports) -> None:
        """Take in the reports on further rows."""
        self.acked += other.acked
        self.codes |= other.codes

    def hold_back(self, rows: Sequence[OutgoingRow]) -> None:
        """Note rows that were not produced."""
        self.codes.update((row[0], NOT_PRODUCED) for row in rows)


class RowProducer:
    """Own one confluent Producer until a fatal error; a new one is needed after it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.fatal: int | None = None  # code of the error that ended this producer
        self.acked_partitions: dict[str, set[int]] = {}  # topics whose partitions are still to be primed
        settings = {**config, "error_cb": self._on_error, "logger": logger}
        try:
            self._client = Producer(settings)
        except (KafkaException, TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"The Kafka producer refuses its options: {reason_of(exc)}. "
                f"Correct OPTIONS or PRODUCER_OPTIONS of this bus in EVENTBUS."
            ) from exc

    def deliver(self, rows: Sequence[OutgoingRow], *, until: float) -> Reports:
        """Produce rows in their order and flush once, until a monotonic time; every row gets a report.

        After a row that is refused at once, later rows of its key are not produced.
        """
        reports = Reports()
        self._produce(rows, reports, until=until)
        while self._flush(_SLICE) and self.fatal is None and time.monotonic() < until:
            pass
        if len(reports.acked) + len(reports.codes) < len(rows):
            self._purge()
            self._flush(1.0)
            self._settle_silent(rows, reports)
        for row_id in [row_id for row_id, code in reports.codes.items() if code in ACKED]:
            del reports.codes[row_id]
            reports.acked.append(row_id)
        return reports

    def count_partitions(self, topic: str, *, timeout: float) -> int | None:
        """Return how many partitions a topic has; None if nobody answers or it does not exist."""
        try:
            found = self._client.list_topics(topic, timeout).topics[topic]
        except KafkaException:
            return None
        return len(found.partitions) if found.error is None else None

    def serve(self) -> None:
        """Run callbacks that wait: logs, errors."""
        try:
            self._client.poll(0)
        except (KafkaException, SystemError) as exc:
            self._end(exc)

    def close(self) -> None:
        """Give up what is queued; the client's threads end with the last reference."""
        self._purge()
        self._flush(_SLICE)

    def _produce(self, rows: Sequence[OutgoingRow], reports: Reports, *, until: float) -> None:
        produce: Callable[..., None] = self._client.produce
        codes, refused = reports.codes, set[tuple[str, bytes | None]]()
        report = self._reporter(reports) if self.acked_partitions else _lean_reporter(reports)
        for row in rows:
            row_id, topic, key, headers, payload = row
            if refused and (topic, key) in refused:
                codes[row_id] = NOT_PRODUCED
                continue
            try:
                produce(topic, payload, key or None, -1, report(row_id, topic), None, 0, split_headers(headers))
            except BufferError:
                code = self._produce_later(row, report(row_id, topic), until=until)
            except (KafkaException, TypeError, ValueError) as exc:
                code = _code_of(exc)
            else:
                continue
            if code is None:
                continue
            codes[row_id] = code
            refused.add((topic, key))
            if code == KafkaError._FATAL:
                self.fatal = self.fatal or code
                break

    def _produce_later(self, row: OutgoingRow, callback: DeliveryCallback, *, until: float) -> int | None:
        produce: Callable[..., None] = self._client.produce
        _, topic, key, headers, payload = row
        while self.fatal is None and time.monotonic() < until:
            self._flush(_SLICE)
            try:
                produce(topic, payload, key or None, -1, callback, None, 0, split_headers(headers))
            except BufferError:
                continue
            except (KafkaException, TypeError, ValueError) as exc:
                return _code_of(exc)
            return None
        return KafkaError._QUEUE_FULL

    def _reporter(self, reports: Reports) -> Callable[[int, str], DeliveryCallback]:
        acked, codes, partitions = reports.acked.append, reports.codes, self.acked_partitions

        def report(row_id: int, topic: str) -> DeliveryCallback:
            def on_delivery(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    codes[row_id] = error.code()
                    return
                acked(row_id)
                number = message.partition()
                if topic in partitions and number is not None:
                    partitions[topic].add(number)

            return on_delivery

        return report

    def _settle_silent(self, rows: Sequence[OutgoingRow], reports: Reports) -> None:
        seen = {*reports.acked, *reports.codes}
        innocent = NOT_PRODUCED if self.fatal is not None else KafkaError._PURGE_QUEUE
        reports.codes.update((row[0], innocent) for row in rows if row[0] not in seen)

    def _purge(self) -> None:
        # The client hands this argument on the wrong way round: False is what waits for the broker threads. Without
        # waiting, a thread that is late would purge rows of the next batch.
        self._client.purge(blocking=False)

    def _flush(self, timeout: float) -> int:
        try:
            return self._client.flush(timeout)
        except (KafkaException, SystemError) as exc:
            # SystemError: a delivery callback ran while librdkafka's exception was already set.
            self._end(exc)
            return 0

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.fatal = error.code()

    def _end(self, exc: BaseException) -> None:
        code = _code_of(exc if isinstance(exc, KafkaException) else exc.__cause__)
        if self.fatal is None or self.fatal == KafkaError._FATAL:
            self.fatal = code


def _code_of(exc: BaseException | None) -> int:
    if isinstance(exc, KafkaException):
        return int(exc.args[0].code())
    return KafkaError._INVALID_ARG if isinstance(exc, TypeError | ValueError) else KafkaError._FATAL


def _lean_reporter(reports: Reports) -> Callable[[int, str], DeliveryCallback]:
    # One closure a row is the cheapest way to know the row: the client has no opaque value.
    acked, codes = reports.acked.append, reports.codes

    def report(row_id: int, _topic: str) -> DeliveryCallback:
        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                acked(row_id)
            else:
                codes[row_id] = error.code()

        return on_delivery

    return report
