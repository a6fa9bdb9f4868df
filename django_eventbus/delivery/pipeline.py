"""How does a record become runs of handlers, or the reason why not?"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django_eventbus.conf import BusConfig
from django_eventbus.events.cloudevents import from_record
from django_eventbus.events.envelope import Envelope
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventBusError, Undecodable, UndecodableReason
from django_eventbus.models.dead_letter import DeadLetterReason
from django_eventbus.models.inbox import inbox_key, position_key
from django_eventbus.models.retry import lane_of
from django_eventbus.transports.base import Record

from .deliveries import Broken, Delivery, Received, Skipped, SkipReason
from .groups import HandlerGroup, Target
from .handler import Handler


class UnknownEvent(EventBusError):
    """No handler of the group takes this event, and the bus keeps such messages."""


def receive(
    record: Record,
    group: HandlerGroup,
    config: BusConfig,
    *,
    only: str = "",
    attempt: int = 1,
    is_replay: bool = False,
) -> Received | Skipped | Broken:
    """Read a record and find out who takes it; raises nothing that the record could cause.

    `only` names the one handler that a waiting delivery is for, `attempt` the run that is about to begin.
    """
    if record.value is None:
        return Skipped(record=record, envelope=None, why=SkipReason.TOMBSTONE)
    try:
        envelope = from_record(record, received_at=record.received_at)
    except Undecodable as exc:
        return _broken(record, group, exc)
    targets = group.targets(envelope.event_name, envelope.event_version)
    if only:
        targets = _only(targets, group.by_name(only))
        if not targets:
            return Skipped(record=record, envelope=envelope, why=SkipReason.NO_LONGER_HANDLED)
    if not targets:
        return _unrouted(record, envelope, group, config)
    deliveries = tuple([_deliver(record, envelope, target, group.name, attempt, is_replay) for target in targets])
    first = deliveries[0].error
    if isinstance(first, Undecodable) and not only and all(isinstance(d.error, Undecodable) for d in deliveries):
        return _broken(record, group, first, envelope=envelope)
    return Received(record=record, envelope=envelope, deliveries=deliveries)


def _only(targets: Iterable[Target], wanted: Handler | None) -> tuple[Target, ...]:
    return tuple(target for target in targets if target.handler is wanted)


def _unrouted(record: Record, envelope: Envelope, group: HandlerGroup, config: BusConfig) -> Skipped | Broken:
    name, version = envelope.event_name, envelope.event_version
    if group.knows(name):
        if group.excludes(name, version):
            return Skipped(record=record, envelope=envelope, why=SkipReason.EXCLUDED_VERSION)
        # Skipping it would lose, without a trace, what a newer publisher sends to code that is not yet deployed.
        missing = Undecodable(
            UndecodableReason.MISSING_UPCASTER,
            f"{name!r} version {version!r} is no version that a handler of group {group.name!r} can take. Deploy the "
            "class or an @upcaster and replay, or leave it out with versions=.",
        )
        return _broken(record, group, missing, envelope=envelope)
    if config.consumer.unknown_event == "skip":
        return Skipped(record=record, envelope=envelope, why=SkipReason.UNKNOWN_EVENT)
    unknown = UnknownEvent(f"{name!r} on topic {record.topic!r} has no handler in group {group.name!r}")
    return _broken(record, group, unknown, envelope=envelope, reason=DeadLetterReason.UNKNOWN_EVENT)


def _deliver(
    record: Record,
    envelope: Envelope,
    target: Target,
    group: str,
    attempt: int,
    is_replay: bool,  # noqa: FBT001
) -> Delivery:
    handler = target.handler
    event, error = None, None
    try:
        event = events.decode(
            envelope.event_name,
            envelope.event_version,
            envelope.data,
            content_type=envelope.content_type,
            into=target.event_class,
        )
        keys = _keys(handler, envelope, _dedupe_id(handler, event, envelope))
    # The boundary of the pipeline: dedupe_key is user code, its error belongs to this handler's run alone.
    except Exception as exc:  # noqa: BLE001
        error = exc
        keys = _keys(handler, envelope, envelope.message_id)
    return Delivery(
        record=record,
        envelope=envelope,
        handler=handler,
        group=group,
        event=event,
        error=error,
        inbox_keys=keys,
        lane=_lane(record, handler, group, keys[0]),
        attempt=attempt,
        is_replay=is_replay,
    )


def _keys(handler: Handler, envelope: Envelope, message_id: str) -> tuple[UUID, ...]:
    return tuple([inbox_key(name, envelope.source, message_id) for name in handler.names])


def _dedupe_id(handler: Handler, event: object, envelope: Envelope) -> str:
    value = None if handler.dedupe_key is None else handler.dedupe_key(event)
    return envelope.message_id if value is None else f"dedupe_key:{value}"


def _lane(record: Record, handler: Handler, group: str, own: UUID) -> UUID:
    if not handler.ordered or record.key is None:
        return own
    return lane_of(group, handler.lane_name, record.topic, record.key)


def _broken(
    record: Record,
    group: HandlerGroup,
    error: EventBusError,
    *,
    envelope: Envelope | None = None,
    reason: DeadLetterReason = DeadLetterReason.UNDECODABLE,
) -> Broken:
    content = record.value or b""
    place = position_key(group.name, record.topic, record.partition, record.offset, content=content)
    return Broken(record=record, envelope=envelope, error=error, reason=reason, inbox_key=place)
