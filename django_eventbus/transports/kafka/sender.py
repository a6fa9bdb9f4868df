"""How does a batch of rows become final verdicts, without ever acknowledging a key out of order?"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka.cimpl import KafkaError

from django_eventbus.events.envelope import OutgoingRow
from django_eventbus.transports.base import Failure, FailureKind, SendResult

from .config import LARGEST_RECORD, SMALLEST_BATCH
from .errors import SUSPECT, kind_of, name_of
from .priming import Priming
from .producer import NOT_PRODUCED, Reports, RowProducer
from .verdicts import Verdicts

_ALONE = 2.0  # seconds for a row that is sent again by itself
_SILENCES = 2  # a broker that dies in the middle of a flush also leaves some topics silent, once


class KafkaSender:
    """Send outbox rows through an idempotent, gapless producer, which is replaced after every fatal error."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._silent = Counter[str]()  # topic -> flushes in which it was silent while others were acknowledged
        self._replace()

    def send(self, rows: Sequence[OutgoingRow], *, deadline: float) -> SendResult:
        """Send rows in their order and give a final verdict on each within about `deadline` seconds."""
        until = time.monotonic() + deadline
        if os.getpid() != self._pid:
            self._replace()  # the threads of the parent's producer do not exist on this side of a fork
        reports = self._attempt(rows, until=until)
        if not reports.codes:
            self._silent.clear()
            return SendResult(acked=reports.acked)
        if any(kind_of(code) in SUSPECT for code in reports.codes.values() if code != NOT_PRODUCED):
            return self._examine(rows, reports, until=until)
        return self._explain_silence(rows, reports)

    def serve(self) -> None:
        """Let the client log and notice errors; a producer that has ended is replaced."""
        if os.getpid() == self._pid:
            self._producer.serve()
            if self._producer.fatal is not None:
                self._replace()

    def close(self) -> None:
        """Release the client; what is still queued in it is given up."""
        if os.getpid() == self._pid:
            self._producer.close()

    def _replace(self) -> None:
        # Built at once: the first message of an idempotent producer waits half a second for a producer id.
        self._producer = RowProducer(self._config)
        self._priming = Priming(self._producer)
        self._pid = os.getpid()

    def _attempt(self, rows: Sequence[OutgoingRow], *, until: float) -> Reports:
        ahead, rest = self._priming.split(rows)
        reports = Reports()
        try:
            for part in (ahead, rest):
                if reports.codes:
                    reports.hold_back(part)
                elif part:
                    reports.add(self._producer.deliver(part, until=until))
                    self._priming.learn(until=until)
            return reports
        finally:
            self._last_fatal = self._producer.fatal
            if self._last_fatal is not None:
                self._replace()

    def _examine(self, rows: Sequence[OutgoingRow], reports: Reports, *, until: float) -> SendResult:
        """Find out which of the rows that carry an error code have earned it.

        One bad record fails its whole produce request, so suspects are sent again alone, in the order of their ids. A
        suspect behind an unacknowledged row of its key is not: it would overtake it.
        """
        verdicts = Verdicts(acked=reports.acked)
        suspects = [code for code in reports.codes.values() if code != NOT_PRODUCED and kind_of(code) in SUSPECT]
        acquitted_of_size = 0
        for row in rows:
            code = reports.codes.get(row[0])
            if code is None or verdicts.is_settled_by_an_earlier_row(row):
                continue
            if code == NOT_PRODUCED or kind_of(code) not in SUSPECT:
                verdicts.hold_back(row, code)
                continue
            final: int | None = code
            if len(suspects) > 1 and kind_of(code) is not FailureKind.TOPIC:
                final = self._send_alone(row, until=until)
            if final is None:
                verdicts.acquit(row)
                acquitted_of_size += code == KafkaError.MSG_SIZE_TOO_LARGE
            elif final == NOT_PRODUCED or kind_of(final) not in SUSPECT:
                verdicts.hold_back(row, final)
                until = 0.0  # the transport gives no verdicts now: the rest comes with the next read
            else:
                verdicts.condemn(row, Failure(kind_of(final), name_of(final)))
        if acquitted_of_size > 1:
            self._shrink_batches()
        return verdicts.result()

    def _send_alone(self, row: OutgoingRow, *, until: float) -> int | None:
        now = time.monotonic()
        if now >= until:
            return NOT_PRODUCED
        return self._attempt([row], until=min(until, now + _ALONE)).codes.get(row[0])

    def _shrink_batches(self) -> None:
        # Singly they pass: some topic takes less than a batch of ours.
        size = int(self._config.get("batch.size", LARGEST_RECORD))
        if size > SMALLEST_BATCH:
            self._config["batch.size"] = max(SMALLEST_BATCH, size // 8)
            self._replace()

    def _explain_silence(self, rows: Sequence[OutgoingRow], reports: Reports) -> SendResult:
        """Tell an outage of the transport from one topic or partition that alone gives no answer."""
        codes = {row_id: code for row_id, code in reports.codes.items() if code != NOT_PRODUCED}
        failures = {row_id: Failure(FailureKind.NOT_SENT, "NOT_PRODUCED") for row_id in reports.codes}
        faults = [code for code in (*codes.values(), self._last_fatal) if code is not None and _is_fault(code)]
        if faults or not reports.acked:
            kind = FailureKind.PRODUCER_FAULT if faults else FailureKind.TRANSPORT_DOWN
            for row_id, code in codes.items():
                failures[row_id] = Failure(kind, name_of(faults[0] if faults else code))
            return SendResult(acked=reports.acked, failures=failures)
        acked = set(reports.acked)
        alive = {row[1] for row in rows if row[0] in acked}
        self._silent.update({row[1] for row in rows if row[0] in codes})
        aside = {topic for topic, count in self._silent.items() if count >= _SILENCES}
        for row_id, topic, *_ in rows:
            if row_id not in codes:
                continue
            kind = FailureKind.NOT_SENT
            if topic in aside:
                kind = FailureKind.OTHER if topic in alive else FailureKind.TOPIC
            failures[row_id] = Failure(kind, name_of(codes[row_id]))
        for topic in aside:
            del self._silent[topic]
        return SendResult(acked=reports.acked, failures=failures)


def _is_fault(code: int) -> bool:
    return kind_of(code) is FailureKind.PRODUCER_FAULT
