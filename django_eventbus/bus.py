"""Which buses does this project have, and how are their parts put together?"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Unpack, cast
from uuid import UUID
from weakref import WeakSet

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .conf import BusConfig, load
from .consumer.handed_over import run_task
from .consumer.local import LocalDeliverer
from .consumer.membership import WorkerReport
from .consumer.worker import Worker
from .delivery import dispatch
from .delivery.groups import HandlerGroup
from .delivery.handover import Task
from .delivery.registry import groups_of, handlers
from .exceptions import ConfigurationError
from .outbox import scheduling
from .outbox.background import background_relays
from .outbox.publisher import PublishOptions
from .outbox.relay import Relay, RelayReport
from .outbox.wakeup import register_waker
from .recurrence.registry import recurrings
from .recurrence.runner import RecurringRunner
from .transports.base import Sender, Transport
from .transports.local import LocalSender, LocalTransport

DEFAULT = "default"
IdleWork = Callable[[], float | None]  # returns the seconds until it is due again; None: it never is


class Options(PublishOptions, total=False):
    """What every form of publish takes besides events."""

    bus: str | None  # alias in EVENTBUS; None: default


class Bus:
    """Be one entry of EVENTBUS; its parts are built when they are asked for, and contact nobody until used."""

    def __init__(self, config: BusConfig, *, owner: Bus | None = None) -> None:
        self.config = config
        self._owner = owner or self  # of a companion: the bus whose local queue this is
        self._relays: WeakSet[Relay] = WeakSet()

    @cached_property
    def transport(self) -> Transport:
        try:
            factory = import_string(self.config.transport)
        except ImportError as exc:
            raise ConfigurationError(
                f"EVENTBUS[{self.config.alias!r}]['TRANSPORT']: {self.config.transport!r} cannot be imported ({exc})."
            ) from exc
        return cast("Transport", factory(self.config))

    @cached_property
    def local(self) -> Bus:
        """Return the bus of the local queue: this one where its transport is local."""
        return self if self.config.local is self.config else Bus(self.config.local, owner=self)

    @cached_property
    def groups(self) -> Mapping[str, HandlerGroup]:
        """Return the consumer groups of this project's handlers; needs ready apps."""
        return groups_of(self.config)

    @cached_property
    def deliverer(self) -> LocalDeliverer:
        """Return what runs the handlers where the relay itself is the transport."""
        return self.new_deliverer(self.groups)

    def new_deliverer(self, groups: Mapping[str, HandlerGroup]) -> LocalDeliverer:
        """Make what runs these handlers; what they publish goes to the bus whose local queue this may be."""
        return LocalDeliverer(self._owner.config, groups, queue=self.config)

    def open_relay(
        self, *, share: int = 0, shares: int = 1, on_progress: Callable[[RelayReport], None] | None = None
    ) -> Relay:
        """Make the relay of one share of the outbox; `run` belongs to the thread that calls it."""
        is_local = isinstance(self.transport, LocalTransport)
        idle_work: list[IdleWork] = [self.deliverer.run_due_retries] if is_local else []
        if share == 0 and (declared := recurrings.of(self.config.alias)):
            idle_work.append(RecurringRunner(self.config, declared).run_due)
        relay = Relay(
            _patient(self.config, self.groups) if is_local else self.config,
            self._open_local_sender if is_local else self._open_sender,
            share=share,
            shares=shares,
            idle_work=partial(_earliest, idle_work) if idle_work else None,
            on_progress=on_progress,
        )
        self._relays.add(relay)
        return relay

    def open_worker(
        self,
        group: HandlerGroup,
        *,
        concurrency: int | None = None,
        instance: str = "0",
        on_progress: Callable[[WorkerReport], None] | None = None,
    ) -> Worker:
        """Make a consumer of one group; `run` belongs to the thread that calls it."""
        return Worker(
            self.config, group, self.transport, concurrency=concurrency, instance=instance, on_progress=on_progress
        )

    def run_task(self, task: Task) -> None:
        """Run the handler of a message that was handed over to this process."""
        # The groups of the local queue are the larger ones: handlers of domain events alone belong to no other.
        run_task(task, group=self.local.groups.get(task.group), config=self.config)

    def wake_relay(self) -> None:
        """Wake a relay of this process, or have one run in the background."""
        relays = list(self._relays)
        for relay in relays:
            relay.wake()
        if not relays:
            background_relays.wake(self.config, self.open_relay)

    def _open_sender(self) -> Sender:
        return self.transport.open_sender(client_id=f"{self.config.service}-relay")

    def _open_local_sender(self) -> Sender:
        return LocalSender(self.deliverer.deliver, close=self.deliverer.close)


class Buses:
    """Hold the buses of this process; `_lock` protects `_by_alias`, which is None until someone asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_alias: Mapping[str, Bus] | None = None

    def __getitem__(self, alias: str) -> Bus:
        found = self._loaded()
        try:
            return found[alias]
        except KeyError:
            raise ConfigurationError(
                f"Bus {alias!r} is not in EVENTBUS; known are {', '.join(map(repr, found))}."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def values(self) -> tuple[Bus, ...]:
        """Return the buses in the order of the setting."""
        return tuple(self._loaded().values())

    def databases(self, *names: str) -> tuple[str, ...]:
        """Return the database aliases of these buses (of all, without names), and those that handlers name.

        Inbox, retries and dead letters of a handler lie where its transactions do: whoever shows or purges tables looks
        at all of them.
        """
        named = [self[name].config.database for name in names or self]
        named += [handler.using for handler in handlers.all() if handler.using is not None]
        return tuple(dict.fromkeys(named))

    def clear(self) -> None:
        """Forget everything: the settings changed, or this is a forked child, which can't use its parent's clients."""
        self._lock = threading.Lock()
        self._by_alias = None

    def _loaded(self) -> Mapping[str, Bus]:
        found = self._by_alias
        if found is None:
            with self._lock:
                if self._by_alias is None:
                    configs = load(getattr(settings, "EVENTBUS", None))
                    self._by_alias = {alias: Bus(config) for alias, config in configs.items()}
                found = self._by_alias
        return found


def publish(event: object, **options: Unpack[Options]) -> UUID:
    """Write an event into the outbox; it is sent if, and only if, the caller's transaction commits. Returns its id.

    Must run inside `transaction.atomic()` on the bus's database; call it after the change that it tells of. Raises
    TransactionRequired, NotAnEvent, NotPublishable, EventInvalid or EventTooLarge, all before anything is written. A
    domain event goes the way that its `dispatch` says, and what handlers of an inline one raise comes out here.
    """
    return dispatch.publish(_config(options), (event,), **_own(options))[0]


def publish_many(events: Sequence[object], **options: Unpack[Options]) -> list[UUID]:
    """Write events, in their order, with one INSERT; all or none. Returns their ids."""
    return dispatch.publish(_config(options), events, **_own(options))


async def apublish(event: object, **options: Unpack[Options]) -> UUID:
    """Publish from a coroutine: in an async handler's transaction, elsewhere in one of its own.

    `atomic()` is synchronous, so a change made in a coroutine cannot commit together with this event: change and
    publish in one synchronous function, called through `sync_to_async`.
    """
    return (await apublish_many((event,), **options))[0]


async def apublish_many(events: Sequence[object], **options: Unpack[Options]) -> list[UUID]:
    """Publish several events from a coroutine; see `apublish`."""
    publish_here = sync_to_async(dispatch.publish_in_own_transaction, thread_sensitive=True)
    return await publish_here(_config(options), events, **_own(options))


def cancel(event_id: UUID, *, using: str | None = None, bus: str | None = None) -> bool:
    """Call back an event that was published with `delay` or `deliver_at`; say whether it was still waiting.

    Must run inside `transaction.atomic()`, as `publish` must; if that rolls back, the event waits on. Once True has
    committed, the event is never sent; False means that it is on its way, or that no such event waits.
    """
    return scheduling.cancel(buses[bus or DEFAULT].config, event_id, using=using)


def reschedule(event_id: UUID, *, deliver_at: datetime, using: str | None = None, bus: str | None = None) -> bool:
    """Give an event that waits for its time another one; say whether it was still waiting.

    Must run inside `transaction.atomic()`. A time that has just passed means at once.
    """
    return scheduling.reschedule(buses[bus or DEFAULT].config, event_id, deliver_at=deliver_at, using=using)


def _patient(config: BusConfig, groups: Mapping[str, HandlerGroup]) -> BusConfig:
    """Let a relay that runs handlers hold its locks for as long as these may take: nobody is to evict it meanwhile."""
    known = [handler for group in groups.values() for handler in group.handlers]
    limits = [handler.timeout for handler in known if handler.handle_in is None]  # a task runs elsewhere
    grace = max([config.outbox.grace, *(2 * limit for limit in limits if limit is not None)])
    return replace(config, outbox=replace(config.outbox, grace=grace))


def _earliest(work: Sequence[IdleWork]) -> float | None:
    """Do what is due of several kinds of work; return the seconds until the first of them is due again."""
    waits = [each() for each in work]
    return min((wait for wait in waits if wait is not None), default=None)


def _config(options: Options) -> BusConfig:
    return buses[options.get("bus") or DEFAULT].config


def _own(options: Options) -> PublishOptions:
    own = dict(options)
    own.pop("bus", None)
    return cast("PublishOptions", own)


def _wake_in_this_process(config: BusConfig, using: str) -> None:
    buses[config.alias].wake_relay()


def _rebuild(*, setting: str, **_: Any) -> None:
    if setting in {"EVENTBUS", "DEBUG", "ROOT_URLCONF"}:
        buses.clear()


buses = Buses()
os.register_at_fork(after_in_child=buses.clear)
setting_changed.connect(_rebuild, dispatch_uid=__name__)
register_waker("thread", _wake_in_this_process)
