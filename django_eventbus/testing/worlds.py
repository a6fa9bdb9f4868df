"""Where does a story of a saga happen: in memory, or in the database?"""

from __future__ import annotations

from copy import copy
from datetime import datetime

from django.db import transaction

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.context import MessageContext, make_context
from django_eventbus.events.identifiers import uuid7
from django_eventbus.events.registry import events
from django_eventbus.outbox.scheduling import cancel
from django_eventbus.sagas.decision import Decision, decide
from django_eventbus.sagas.declaration import SagaDeclaration
from django_eventbus.sagas.instance import ArmedTimeout, Instance, Timeout
from django_eventbus.sagas.stepping import Stepper
from django_eventbus.sagas.store import Cause, Store


class InMemory:
    """Keep instances in a dict; what could not be written or read in production fails here too."""

    def __init__(self, declaration: SagaDeclaration) -> None:
        self._declaration = declaration
        self._instances: dict[str, Instance] = {}

    def load(self, key: str) -> Instance | None:
        """Return an instance as a step would read it."""
        instance = self._instances.get(key)
        return None if instance is None else self._stored(instance)

    def take(self, message: object, *, key: str, now: datetime) -> Decision:
        """Take one step."""
        context = context_of(message, self._declaration, now)
        decision = decide(self._declaration, message, key=key, instance=self.load(key), context=context, now=now)
        for outgoing in decision.published:
            events.contract_of(outgoing.event).codec.encode(outgoing.event)
        if decision.changes_instance:
            self._instances[key] = self._stored(_after(decision))
        return decision

    def _stored(self, instance: Instance) -> Instance:
        kind = self._declaration.state
        state = (
            copy(instance.state) if kind.is_model else kind.decode(kind.encode(instance.state), version=kind.version)
        )
        return Instance(
            status=instance.status,
            state=state,
            timeouts=instance.timeouts,
            compensations=instance.compensations,
        )


class InDatabase:
    """Keep instances where production does; each step is a transaction, and joins that of the test."""

    def __init__(self, declaration: SagaDeclaration, config: BusConfig) -> None:
        self._declaration = declaration
        self._config = config
        self._using = declaration.using or config.database

    def load(self, key: str) -> Instance | None:
        """Read an instance."""
        with transaction.atomic(using=self._using):
            loaded = Store(self._declaration, self._config).load(key)
        return None if loaded is None else loaded.instance

    def take(self, message: object, *, key: str, now: datetime) -> Decision:
        """Take one step."""
        context = context_of(message, self._declaration, now)
        cause = Cause(message=context.event_name, message_id=context.message_id, source=context.source)
        with transaction.atomic(using=self._using):
            if isinstance(message, Timeout):  # as the relay does when it is due
                cancel(self._config.local, message.event_id, using=self._using)
            stepper = Stepper(declaration=self._declaration, config=self._config)
            return stepper.step(message, key=key, context=context, cause=cause, now=now)


def context_of(message: object, declaration: SagaDeclaration, now: datetime) -> MessageContext:
    """Make the context in which a message of a story comes."""
    if isinstance(message, Timeout):
        named = {"event_name": f"timeout {message.name}", "message_id": str(message.event_id)}
        return make_context(handler=declaration.name, published_at=now, received_at=now, **named)
    return make_context(message, handler=declaration.name, published_at=now, received_at=now)


def _after(decision: Decision) -> Instance:
    assert decision.status is not None
    armed = {name: ArmedTimeout(uuid7(), due) for name, due in decision.timeouts_set.items()}
    return Instance(
        status=decision.status,
        state=decision.state,
        timeouts={**decision.timeouts_kept, **armed},
        compensations=decision.compensations,
    )
