"""How does a handler run, so that nothing it does can end more than its own run?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_eventbus import telemetry
from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import EventBusError
from django_eventbus.outbox.context import PublishContext, exactly

from .calling import acall_handler, call_handler
from .context import MessageContext, build_context
from .deliveries import Delivery
from .dispatch import publish
from .handler import Handler

T = TypeVar("T")
FAILED = 3  # PQTRANS_INERROR of libpq: psycopg is optional, and its enum takes longer to ask than the question
Returned = list[Any]  # events that a handler wants published


class HandlerMisbehaved(EventBusError):
    """A handler did what would have ended more than its run: it is rolled back and counted as a failed attempt."""


class HandlerTooSlow(EventBusError, TimeoutError):
    """A handler took longer than its timeout; it is rolled back and counted as a failed attempt."""


def run(delivery: Delivery, config: BusConfig) -> None:
    """Run a handler and publish what it returns, in one transaction: must run inside atomic on the handler's alias.

    Raises what the handler raises; BaseExceptions of its making arrive as HandlerMisbehaved.
    """
    run_batch((delivery,), config)


def run_batch(deliveries: Sequence[Delivery], config: BusConfig) -> None:
    """Run a batch handler once for all of these deliveries; otherwise as `run`."""
    with _span(deliveries, config), exactly(publish_context(deliveries, config)):
        _finish(deliveries, _call(deliveries, config), config)


async def arun(delivery: Delivery, config: BusConfig) -> None:
    """Run an async handler; must run in the thread-sensitive context in which its transaction was entered."""
    deliveries = (delivery,)
    with _span(deliveries, config), exactly(publish_context(deliveries, config)):
        returned = await _acall(deliveries, config)
        await sync_to_async(_finish)(deliveries, returned, config)


def call(deliveries: Sequence[Delivery], config: BusConfig) -> Returned:
    """Run a handler outside of a transaction (`atomic=False`) and return the events for `finish`."""
    with _span(deliveries, config), exactly(publish_context(deliveries, config)):
        return _call(deliveries, config)


async def acall(deliveries: Sequence[Delivery], config: BusConfig) -> Returned:
    """Run an async handler and return the events for `finish`, which the caller runs in the handler's thread."""
    with _span(deliveries, config), exactly(publish_context(deliveries, config)):
        return await _acall(deliveries, config)


def finish(deliveries: Sequence[Delivery], returned: Returned, config: BusConfig) -> None:
    """Refuse a transaction that cannot commit, and publish what `call` or `acall` returned; must run inside atomic."""
    with exactly(publish_context(deliveries, config)):
        _finish(deliveries, returned, config)


def alias_of(handler: Handler, config: BusConfig) -> str:
    """Return the database alias whose transactions a handler runs in."""
    return handler.using or config.database


def publish_context(deliveries: Sequence[Delivery], config: BusConfig) -> PublishContext:
    """Return what publishes inside a handler inherit from its message.

    A tenant id is inherited from messages of this very service only: anyone who may write to the topic could have put
    it there. A handler that trusts its sender passes it on with `message_context(tenant_id=context.tenant_id)`. What
    differs between the messages of a batch is not inherited.
    """
    each = [
        (e.correlation_id or e.message_id, e.message_id, e.tenant_id if e.source == config.source else None)
        for e in [delivery.envelope for delivery in deliveries]
    ]
    correlation_id, causation_id, tenant_id = each[0] if len(each) == 1 else map(_shared, zip(*each, strict=True))
    return PublishContext(correlation_id=correlation_id, causation_id=causation_id, tenant_id=tenant_id)


def _call(deliveries: Sequence[Delivery], config: BusConfig) -> Returned:
    handler = deliveries[0].handler
    if handler.is_async:
        returned: Returned = async_to_sync(_acall)(deliveries, config)
        return returned
    arguments = _arguments(deliveries, config)
    alias, started = alias_of(handler, config), time.monotonic()
    connection = connections[alias]
    depth = len(connection.atomic_blocks)
    try:
        made = call_handler(handler, arguments, using=alias)
    except Exception:
        raise
    except BaseException as exc:  # sys.exit() in a handler must not end the worker
        if isinstance(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # an operator's Ctrl-C, not the handler's doing
        raise _escaped(handler, exc) from exc
    finally:
        is_balanced = _restore_depth(connection, depth)
    if not is_balanced:
        raise HandlerMisbehaved(f"{handler.name} entered atomic() and did not leave it. Use it in a with statement.")
    if handler.timeout is not None and time.monotonic() - started > handler.timeout.total_seconds():
        raise HandlerTooSlow(f"{handler.name} took longer than its timeout of {handler.timeout.total_seconds():g} s.")
    return made


async def _acall(deliveries: Sequence[Delivery], config: BusConfig) -> Returned:
    handler = deliveries[0].handler
    arguments = _arguments(deliveries, config)
    limit = None if handler.timeout is None else handler.timeout.total_seconds()
    clock = asyncio.timeout(limit)
    try:
        async with clock:
            return await acall_handler(handler, arguments, using=alias_of(handler, config))
    except TimeoutError as exc:
        if clock.expired():
            raise HandlerTooSlow(f"{handler.name} took longer than its timeout of {limit:g} s.") from exc
        raise
    except Exception:
        raise
    except BaseException as exc:  # a SystemExit that reaches the event loop ends it, and every other handler with it
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the worker is stopping
        raise _escaped(handler, exc) from exc


def _finish(deliveries: Sequence[Delivery], returned: Returned, config: BusConfig) -> None:
    handler = deliveries[0].handler
    alias = alias_of(handler, config)
    _require_sound_transaction(handler, alias)
    if returned:
        publish(config, returned, using=alias)
        _require_sound_transaction(handler, alias)  # handlers of domain events may have run


def _arguments(deliveries: Sequence[Delivery], config: BusConfig) -> tuple[Any, ...]:
    for delivery in deliveries:
        if delivery.error is not None:
            raise delivery.error
    handler = deliveries[0].handler
    if handler.batch is None:
        (delivery,) = deliveries
        if handler.saga_key is not None:  # it publishes by itself
            return (delivery.event, _context(delivery), config)
        return (delivery.event, _context(delivery)) if handler.takes_context else (delivery.event,)
    messages = [delivery.event for delivery in deliveries]
    return (messages, [_context(d) for d in deliveries]) if handler.takes_context else (messages,)


def _context(delivery: Delivery) -> MessageContext:
    return build_context(
        delivery.envelope,
        handler=delivery.handler.name,
        attempt=delivery.attempt,
        group=delivery.group,
        is_replay=delivery.is_replay,
    )


def _require_sound_transaction(handler: Handler, alias: str) -> None:
    """Refuse what the server would answer COMMIT with a silent ROLLBACK for: the message would count as handled."""
    connection = connections[alias]
    native = getattr(connection.connection, "pgconn", None)  # psycopg's; SQLite has no failed state
    has_failed = native is not None and native.transaction_status == FAILED
    if connection.needs_rollback or connection.closed_in_transaction or has_failed:
        raise HandlerMisbehaved(
            f"{handler.name} left the transaction of {alias!r} broken: it caught a database error, or closed the "
            "connection. Wrap what may fail in transaction.atomic() and catch the error outside of it."
        )


def _restore_depth(connection: BaseDatabaseWrapper, depth: int) -> bool:
    """Forget atomic blocks that a handler left open: the unit's own exit would only leave one of them, not commit."""
    surplus = len(connection.atomic_blocks) - depth
    if surplus > 0 and depth == 0:
        connection.in_atomic_block = False
        connection.savepoint_ids.clear()
        connection.atomic_blocks.clear()
        connection.close()
    elif surplus > 0:
        del connection.savepoint_ids[-surplus:], connection.atomic_blocks[-surplus:]
    return surplus == 0


def _escaped(handler: Handler, exc: BaseException) -> HandlerMisbehaved:
    return HandlerMisbehaved(f"{handler.name} raised {type(exc).__name__}({exc}), which would have ended the worker.")


def _span(deliveries: Sequence[Delivery], config: BusConfig) -> AbstractContextManager[Any]:
    first, system = deliveries[0], telemetry.system_of(config)
    if first.handler.batch is None:
        return telemetry.processing(
            first.envelope, handler=first.handler.name, group=first.group, attempt=first.attempt, system=system
        )
    return telemetry.processing_batch(
        [d.envelope for d in deliveries],
        handler=first.handler.name,
        group=first.group,
        attempt=first.attempt,
        system=system,
    )


def _shared(values: Iterable[T]) -> T | None:
    rest = iter(values)
    first = next(rest)
    return first if all(value == first for value in rest) else None
