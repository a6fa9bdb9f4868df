"""Which way does each published event take: the outbox, the local queue, or straight to its handlers?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Unpack
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import connections, transaction

from django_eventbus.conf import BusConfig
from django_eventbus.events.cloudevents import from_record
from django_eventbus.events.contract import Dispatch, EventContract
from django_eventbus.events.envelope import Envelope
from django_eventbus.events.registry import events as known
from django_eventbus.exceptions import NotPublishable
from django_eventbus.outbox import publisher
from django_eventbus.outbox.composition import Composer
from django_eventbus.outbox.context import PublishContext, current_context, exactly
from django_eventbus.outbox.publisher import PublishOptions, require_event_id
from django_eventbus.outbox.scheduling import due_at_of
from django_eventbus.outbox.transactions import alias_of, is_in_transaction, refuse_split, require_transaction
from django_eventbus.signals import domain_event_failed, emit, event_published
from django_eventbus.transports.local import record_of

from .calling import acall_handler, call_handler
from .context import build_context
from .groups import Target, group_name
from .handler import Handler
from .registry import handlers
from .translation import translate


def publish(config: BusConfig, events: Sequence[object], **options: Unpack[PublishOptions]) -> list[UUID]:
    """Publish events, each in the way that its contract says, in the order given; return their ids.

    Must run inside atomic on the bus's database, unless its REQUIRE_ATOMIC is off. What an event itself is refused for
    is found before anything is written or run. After an error of a handler the caller's transaction rolls back.
    """
    if not known.has_domain_event(events):
        return publisher.publish(config, events, **options)
    alias = alias_of(config, options.get("using"))
    require_transaction(config, connections[alias])
    require_event_id(options.get("event_id"), events)
    due_at_of(delay=options.get("delay"), deliver_at=options.get("deliver_at"))
    prepared = [_prepare(config, event, options) for event in events]
    ids: list[UUID] = []
    # Without a savepoint, as Django's save(): who catches a handler's error can't commit what it left half done.
    with transaction.atomic(using=alias, savepoint=False):
        for dispatch, group in groupby(prepared, key=lambda one: one.contract.dispatch):
            match dispatch:
                case None:
                    ids += publisher.publish(config, [one.event for one in group], **options)
                case Dispatch.QUEUED:
                    ids += _publish_queued(config, list(group), options)
                case Dispatch.INLINE:
                    ids += [_publish_inline(config, one, options) for one in group]
                case Dispatch.ON_COMMIT:
                    ids += [_publish_on_commit(config, one, options) for one in group]
    return ids


def publish_in_own_transaction(
    config: BusConfig, events: Sequence[object], **options: Unpack[PublishOptions]
) -> list[UUID]:
    """Publish in the open transaction if there is one, else in one of its own: `apublish` outside a handler."""
    alias = alias_of(config, options.get("using"))
    if is_in_transaction(connections[alias]):
        return publish(config, events, **options)
    refuse_split(alias)
    with transaction.atomic(using=alias):
        return publish(config, events, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """Be an event that may be published, with what other services are told of it."""

    contract: EventContract
    event: object
    translations: list[Any]


def _prepare(config: BusConfig, event: object, options: PublishOptions) -> _Prepared:
    contract = known.contract_of(event)
    queue = config.local if contract.is_domain_event else config
    Composer(queue, bus=0, key=options.get("key"), headers=options.get("headers")).check(event)
    is_put_off = options.get("delay") is not None or options.get("deliver_at") is not None
    if is_put_off and contract.dispatch in {Dispatch.INLINE, Dispatch.ON_COMMIT}:
        raise NotPublishable(
            f"{contract.label} is dispatched {contract.dispatch}, so nothing keeps it until later. Leave out delay and "
            "deliver_at, or declare it with dispatch='queued'."
        )
    return _Prepared(contract=contract, event=event, translations=translate(contract, event))


def _publish_queued(config: BusConfig, group: Sequence[_Prepared], options: PublishOptions) -> list[UUID]:
    ids = publisher.publish(config.local, [one.event for one in group], **options)
    for one, event_id in zip(group, ids, strict=True):
        with exactly(_inherited(str(event_id))):
            publisher.publish(config, one.translations)
    return ids


def _publish_inline(config: BusConfig, prepared: _Prepared, options: PublishOptions) -> UUID:
    envelope = _enclose(config, prepared.event, options)
    with exactly(_inherited(envelope.message_id)):
        publisher.publish(config, prepared.translations)
        for target in handlers.takers(prepared.contract):
            _run(target, prepared, envelope, config, using=config.database)
    return UUID(envelope.message_id)


def _publish_on_commit(config: BusConfig, prepared: _Prepared, options: PublishOptions) -> UUID:
    envelope = _enclose(config, prepared.event, options)
    context = _inherited(envelope.message_id)
    with exactly(context):
        publisher.publish(config, prepared.translations)

    def run_handlers() -> None:
        with exactly(context):
            for target in handlers.takers(prepared.contract):
                _run_alone(target, prepared, envelope, config)

    connections[config.database].on_commit(run_handlers, robust=True)
    return UUID(envelope.message_id)


def _enclose(config: BusConfig, event: object, options: PublishOptions) -> Envelope:
    """Make the message of an event that is never stored: refused for the same reasons, and looking the same."""
    composer = Composer(config.local, bus=0, key=options.get("key"), headers=options.get("headers"))
    message, envelope = composer.compose(event, event_id=options.get("event_id"))
    if envelope is None:
        return from_record(record_of((0, message.topic, message.key, message.headers, message.payload)))
    places = {"bus": config.local.alias, "using": config.database}
    emit(event_published, type(event), event=event, envelope=envelope, due_at=None, **places)
    return envelope


def _inherited(message_id: str) -> PublishContext:
    outer = current_context()
    return replace(outer, correlation_id=outer.correlation_id or message_id, causation_id=message_id)


def _run_alone(target: Target, prepared: _Prepared, envelope: Envelope, config: BusConfig) -> None:
    handler = target.handler
    alias = handler.using or config.database
    scope = transaction.atomic(using=alias) if handler.is_atomic else nullcontext()
    try:
        with scope:
            _run(target, prepared, envelope, config, using=alias)
    # The boundary of a run: the event is committed, so neither its publisher nor its other handlers may fail with it.
    except Exception as exc:  # noqa: BLE001
        event = prepared.event
        emit(domain_event_failed, type(event), event=event, envelope=envelope, handler=handler.name, error=exc)


def _run(target: Target, prepared: _Prepared, envelope: Envelope, config: BusConfig, *, using: str) -> None:
    handler, event = target.handler, prepared.event
    if target.event_class is not prepared.contract.cls:
        data = prepared.contract.codec.encode(event)
        event = known.decode(envelope.event_name, envelope.event_version, data, into=target.event_class)
    arguments = (event, _context(handler, envelope, config)) if handler.takes_context else (event,)
    if handler.saga_key is not None:
        arguments = (*arguments, config)  # it publishes by itself
    if handler.is_async:
        returned = async_to_sync(acall_handler)(handler, arguments, using=using)
    else:
        returned = call_handler(handler, arguments, using=using)
    if returned:
        publish_in_own_transaction(config, returned, using=using)


def _context(handler: Handler, envelope: Envelope, config: BusConfig) -> Any:
    return build_context(envelope, handler=handler.name, attempt=1, group=group_name(handler, config), is_replay=False)
