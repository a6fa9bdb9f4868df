"""Which moments on the way of an event can other code observe, and which of them are logged?

Receivers are called by `emit` only: what they raise is logged by Django, and never changes a message's fate. A receiver
that writes to the database opens a transaction of its own in `transaction.on_commit`. `sender` is the event class where
one is known, else None, so that `@receiver(message_handled, sender=OrderPlaced)` works.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from django.dispatch import Signal

logger = logging.getLogger(__name__)

_LONGEST_REASON = 200


class Message(Protocol):
    """Name what log lines say about a message; every Envelope has it."""

    @property
    def message_id(self) -> str: ...
    @property
    def event_name(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int | None: ...
    @property
    def offset(self) -> int | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def tenant_id(self) -> str | None: ...


class RelayState(StrEnum):
    """Say what a relay is doing."""

    ACTIVE = "active"  # holds its shards
    STANDBY = "standby"  # another relay holds them
    BACKING_OFF = "backing_off"  # the broker or the database does not answer
    STOPPED = "stopped"


# event, envelope, bus, using, due_at (None: at once): the row is written, the caller's transaction may still roll back.
event_published = Signal()
# event, envelope, handler, error (exception): a handler of a domain event that is dispatched on commit failed. Nothing
# of the event is stored, so nothing runs it again.
domain_event_failed = Signal()
# bus, using, count, duration (timedelta): one batch was acknowledged by the broker and deleted from the outbox.
message_sent = Signal()
# envelopes (one, or a batch handler's list), handler, group, attempt, outcome ("handled", "duplicate", "ignored"),
# duration (timedelta): one run of a handler, after its transaction committed; or, without a handler ("") and "ignored",
# an event of a subscribed topic that concerns none.
message_handled = Signal()
# envelope, handler, group, attempt, error (exception), retry_at (datetime): an attempt failed, another one will follow.
message_retried = Signal()
# envelope (None where undecodable), handler ("" for the outbox and undecodable ones), group, attempt, error (exception
# or text), dead_letter_id: a message ended, and its dead letter is committed.
message_dead_lettered = Signal()
# envelope, handler, dead_letter_id, operator (text), reason: a replay was ordered, and the order is committed.
dead_letter_replayed = Signal()
# saga (name), key, outcome (as in the history, or "ignored_late", "duplicate_start", "unknown_instance",
# "not_found_handled"), method ("" where none ran), bus: a message was taken by a saga; after its commit.
saga_stepped = Signal()
# bus, using, name, at (datetime), event_ids: an occurrence of a recurring event is committed.
occurrence_published = Signal()
# bus, using, name, at, attempt, error (exception), again_at (datetime): its function, or its publishing, failed.
occurrence_failed = Signal()
# bus, using, name, since (datetime), missed ("latest" or "skip"): occurrences from then on were left out.
occurrences_missed = Signal()
# bus, using, state (RelayState), shards (collection), reason (text): a relay of this process became something else.
relay_state_changed = Signal()
# group, partitions (collection of (topic, number)): the broker gave partitions to this worker.
partitions_assigned = Signal()
# group, partitions, lost (True: another worker may own them already): the broker took partitions from this worker.
partitions_revoked = Signal()


def emit(signal: Signal, sender: type | None = None, **details: Any) -> None:
    """Tell the receivers, if there are any; what they raise is logged and goes no further."""
    if signal.has_listeners(sender):
        signal.send_robust(sender, **details)


def connect_logging() -> None:
    """Connect the receivers that log; called once when the apps are ready, after LOGGING took effect.

    The signals that come with every event are connected only where their DEBUG lines are wanted: thousands a second
    would pay for lines that nobody reads.
    """
    for signal, receiver in _ALWAYS.items():
        signal.connect(receiver, dispatch_uid=__name__)
    for signal, receiver in _EVERY_EVENT.items():
        if logger.isEnabledFor(logging.DEBUG):
            signal.connect(receiver, dispatch_uid=__name__)
        else:
            signal.disconnect(dispatch_uid=__name__)


def message_fields(message: Message | None, *, handler: str = "", attempt: int | None = None) -> dict[str, Any]:
    """Return the `extra` of a log line about a message; the field names are public."""
    fields: dict[str, Any] = {"handler": handler or None, "event_attempt": attempt}
    if message is not None:
        fields["event_name"] = message.event_name
        fields["event_id"] = message.message_id
        fields["correlation_id"] = message.correlation_id
        fields["tenant_id"] = message.tenant_id
        fields["topic"] = message.topic
        fields["partition"] = message.partition
        fields["offset"] = message.offset
    return fields


def _log_published(envelope: Message, bus: str, **details: Any) -> None:
    logger.debug(
        "published event=%s id=%s topic=%s bus=%s",
        *map(_plain, (envelope.event_name, envelope.message_id, envelope.topic, bus)),
        extra=message_fields(envelope),
    )


def _log_handled(
    envelopes: Sequence[Message], handler: str, attempt: int, outcome: str, duration: timedelta, **details: Any
) -> None:
    first = envelopes[0]
    logger.debug(
        "%s event=%s id=%s handler=%s attempt=%s count=%s seconds=%.4f",
        outcome,
        *map(_plain, (first.event_name, first.message_id, handler)),
        attempt,
        len(envelopes),
        duration.total_seconds(),
        extra=message_fields(first, handler=handler, attempt=attempt),
    )


def _log_sent(bus: str, using: str, count: int, duration: timedelta, **details: Any) -> None:
    logger.debug("sent bus=%s using=%s count=%s seconds=%.4f", bus, using, count, duration.total_seconds())


def _log_retried(
    envelope: Message, handler: str, attempt: int, error: BaseException, retry_at: datetime, **details: Any
) -> None:
    logger.warning(
        "attempt failed event=%s id=%s handler=%s attempt=%s retry_at=%s error=%s",
        *map(_plain, (envelope.event_name, envelope.message_id, handler)),
        attempt,
        retry_at.isoformat(),
        _reason(error),
        extra=message_fields(envelope, handler=handler, attempt=attempt),
    )


def _log_dead_lettered(
    envelope: Message | None,
    handler: str,
    attempt: int,
    error: BaseException | str,
    dead_letter_id: object,
    **details: Any,
) -> None:
    logger.error(
        "dead letter event=%s id=%s handler=%s attempt=%s dead_letter=%s error=%s",
        _plain(envelope.event_name if envelope else "-"),
        _plain(envelope.message_id if envelope else "-"),
        _plain(handler or "-"),
        attempt,
        dead_letter_id,
        _reason(error),
        exc_info=error if isinstance(error, BaseException) else None,
        extra=message_fields(envelope, handler=handler, attempt=attempt),
    )


def _log_domain_event_failed(envelope: Message, handler: str, error: BaseException, **details: Any) -> None:
    logger.error(
        "domain event lost event=%s id=%s handler=%s error=%s",
        *map(_plain, (envelope.event_name, envelope.message_id, handler)),
        _reason(error),
        exc_info=error,
        extra=message_fields(envelope, handler=handler),
    )


def _log_replayed(
    envelope: Message | None, handler: str, dead_letter_id: object, operator: str, **details: Any
) -> None:
    logger.info(
        "replayed dead_letter=%s handler=%s operator=%s",
        dead_letter_id,
        _plain(handler or "-"),
        _plain(operator),
        extra=message_fields(envelope, handler=handler),
    )


def _log_saga(saga: str, key: str, outcome: str, method: str, **details: Any) -> None:
    logger.debug("saga %s saga=%s key=%s method=%s", outcome, *map(_plain, (saga, key, method or "-")))


def _log_occurrence(bus: str, name: str, at: datetime, event_ids: Collection[object], **details: Any) -> None:
    logger.info("recurring name=%s bus=%s at=%s events=%s", name, bus, at.isoformat(), len(event_ids))


def _log_failed_occurrence(
    bus: str, name: str, at: datetime, attempt: int, error: BaseException, again_at: datetime, **details: Any
) -> None:
    logger.error(
        "recurring failed name=%s bus=%s at=%s attempt=%s again_at=%s error=%s",
        *(name, bus, at.isoformat(), attempt, again_at.isoformat(), _reason(error)),
        exc_info=error,
    )


def _log_missed(bus: str, name: str, since: datetime, missed: str, **details: Any) -> None:
    logger.warning("recurring missed name=%s bus=%s since=%s policy=%s", name, bus, since.isoformat(), missed)


def _log_relay(bus: str, using: str, state: RelayState, reason: str = "", **details: Any) -> None:
    level = logging.WARNING if state is RelayState.BACKING_OFF else logging.INFO
    logger.log(level, "relay bus=%s using=%s state=%s reason=%s", bus, using, state.value, _plain(reason) or "-")


def _log_assigned(group: str, partitions: Collection[tuple[str, int]], **details: Any) -> None:
    logger.info("partitions assigned group=%s partitions=%s", group, _places(partitions))


def _log_revoked(*, group: str, partitions: Collection[tuple[str, int]], lost: bool = False, **details: Any) -> None:
    level = logging.WARNING if lost else logging.INFO
    logger.log(level, "partitions %s group=%s partitions=%s", "lost" if lost else "revoked", group, _places(partitions))


def _plain(text: str) -> str:
    """Keep a line one line: foreign names may carry line breaks that would forge the next entry."""
    return text if text.isprintable() else ascii(text)


def _reason(error: BaseException | str) -> str:
    if isinstance(error, str):
        return _plain(error[:_LONGEST_REASON])
    return _plain(f"{type(error).__name__}: {error}"[:_LONGEST_REASON])


def _places(partitions: Collection[tuple[str, int]]) -> str:
    return ",".join(f"{topic}/{number}" for topic, number in sorted(partitions))


_ALWAYS: Mapping[Signal, Any] = {
    message_sent: _log_sent,
    message_retried: _log_retried,
    message_dead_lettered: _log_dead_lettered,
    domain_event_failed: _log_domain_event_failed,
    dead_letter_replayed: _log_replayed,
    relay_state_changed: _log_relay,
    occurrence_published: _log_occurrence,
    occurrence_failed: _log_failed_occurrence,
    occurrences_missed: _log_missed,
    partitions_assigned: _log_assigned,
    partitions_revoked: _log_revoked,
}
_EVERY_EVENT: Mapping[Signal, Any] = {
    event_published: _log_published,
    message_handled: _log_handled,
    saga_stepped: _log_saga,
}
