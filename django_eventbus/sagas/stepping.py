"""How is one step taken, so that everything it decides is done in one transaction or not at all?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.dispatch import publish
from django_eventbus.events.envelope import SAGA_HEADER
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventBusError
from django_eventbus.outbox.publisher import PublishOptions, require_event_id
from django_eventbus.outbox.scheduling import cancel

from .decision import Decision, decide
from .declaration import SagaDeclaration
from .instance import ArmedTimeout, Instance, Outgoing
from .own_writes import OwnWrites
from .store import Cause, Store
from .timeouts import timeout_event

MOST_TRIES = 10  # each time another step of the same instance came first


class StepOvertaken(EventBusError):
    """Other steps of the same instance came first, again and again; the message is tried again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Take steps of one saga on one bus; every call must run inside atomic on the saga's database."""

    declaration: SagaDeclaration
    config: BusConfig

    def step(
        self,
        message: object,
        *,
        key: str,
        context: MessageContext | None,
        cause: Cause,
        now: datetime | None = None,
    ) -> Decision:
        """Decide about a message and do what is decided; raises what the saga's method raises. `now` is for tests."""

        def decision(instance: Instance | None) -> Decision:
            moment = now or datetime.now(UTC)
            return decide(self.declaration, message, key=key, instance=instance, context=context, now=moment)

        return self.take(decision, key=key, cause=cause)

    def take(self, decision_on: Callable[[Instance | None], Decision], *, key: str, cause: Cause) -> Decision:
        """Do what is decided on an instance.

        Nothing is written before the version of the instance is known to be the newest: where another step came first
        (two start events that race, or an optimistic saga), it is decided anew, and what the method itself has written
        is undone.
        """
        store = Store(self.declaration, self.config)
        for _ in range(MOST_TRIES):
            loaded = store.load(key)
            own = OwnWrites(store.using)
            with own.watched():
                decision = decision_on(None if loaded is None else loaded.instance)
            ids = [_identity(outgoing) for outgoing in decision.published]
            armed = {name: ArmedTimeout(uuid7(), due) for name, due in decision.timeouts_set.items()}
            if not decision.changes_instance or store.save(
                key,
                decision,
                loaded=loaded,
                timeouts={**decision.timeouts_kept, **armed},
                outgoing=[(_name(outgoing), id) for outgoing, id in zip(decision.published, ids, strict=True)],
                cause=cause,
            ):
                own.keep()
                self._carry_out(decision, key=key, ids=ids, armed=armed, using=store.using)
                return decision
            own.undo()
        raise StepOvertaken(f"Saga {self.declaration.name} ({key}): {MOST_TRIES} other steps came first.")

    def _carry_out(
        self, decision: Decision, *, key: str, ids: list[UUID], armed: Mapping[str, ArmedTimeout], using: str
    ) -> None:
        for outgoing, event_id in zip(decision.published, ids, strict=True):
            options = dict(outgoing.options)
            headers = {**(options.pop("headers", None) or {}), SAGA_HEADER: f"{self.declaration.name} {key}"}
            options.update(headers=headers, event_id=event_id, using=using)
            publish(self.config, (outgoing.event,), **cast("PublishOptions", options))
        for timeout in decision.timeouts_cancelled.values():
            cancel(self.config.local, timeout.event_id, using=using)
        for name, timeout in armed.items():
            self.fire(name, key=key, timeout=timeout, using=using)

    def fire(self, name: str, *, key: str, timeout: ArmedTimeout, using: str) -> None:
        """Have a timeout come when it is due, through the local queue and in the order of the instance's others."""
        event = timeout_event(self.declaration)(key=key, name=name)
        options: dict[str, Any] = {"event_id": timeout.event_id, "deliver_at": timeout.due_at, "using": using}
        publish(self.config.local, (event,), **cast("PublishOptions", options))


def _identity(outgoing: Outgoing) -> UUID:
    given = outgoing.options.get("event_id")
    require_event_id(given, (outgoing.event,))
    return given or uuid7()


def _name(outgoing: Outgoing) -> str:
    return events.contract_of(outgoing.event).name
