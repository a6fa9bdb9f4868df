"""How is a saga a handler among others, one delivery being one step?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from django_eventbus import signals
from django_eventbus.conf import BusConfig
from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.handler import Handler
from django_eventbus.events.attributes import is_legal_text
from django_eventbus.exceptions import Reject, RetryAside

from .decision import Decision, Outcome
from .declaration import SagaDeclaration, place_of
from .instance import Timeout
from .stepping import Stepper
from .store import Cause
from .timeouts import timeout_event


@dataclass(frozen=True, slots=True)
class SagaRunner:
    """Be the function of a saga's handler. Two of one place in the code are equal: the class was imported again."""

    place: tuple[str, str]
    declaration: SagaDeclaration = field(compare=False)
    timeout_class: type[Any] = field(compare=False)

    @property
    def __wrapped__(self) -> type[Any]:
        """Name what people wrote, where the function of a handler is shown."""
        return self.declaration.cls

    def __call__(self, event: Any, context: MessageContext, config: BusConfig) -> None:
        """Take the step that a message asks for; must run inside atomic. What it publishes is in its transaction.

        Raises RetryAside for an event that came before the one which starts its instance.
        """
        declaration, key = self.declaration, self.key_of(event)
        message, name = event, context.event_name
        if isinstance(event, self.timeout_class):
            message = Timeout(name=event.name, event_id=UUID(context.message_id))
            name = f"timeout {event.name}"
        cause = Cause(message=name, message_id=context.message_id, source=context.source, attempt=context.attempt)
        decision = Stepper(declaration=declaration, config=config).step(message, key=key, context=context, cause=cause)
        if decision.outcome is Outcome.UNKNOWN_INSTANCE:
            _refuse_unknown(declaration, key, decision)
        _announce(declaration, key, decision, event=event, config=config)

    def key_of(self, event: Any) -> str:
        """Return the key of the instance that a message is for; raise Reject where it names none."""
        if isinstance(event, self.timeout_class):
            return str(event.key)
        key = self.declaration.key_of(event)
        if not is_legal_text(key):
            raise Reject(f"Saga {self.declaration.name}: the key {key!r} holds a character that no header may hold.")
        return key


def handler_of(declaration: SagaDeclaration) -> Handler:
    """Make the handler of a saga: it takes the saga's events, and its timeouts from the local queue."""
    timeout_class = timeout_event(declaration)
    runner = SagaRunner(place_of(declaration), declaration, timeout_class)
    return Handler(
        name=declaration.name,
        function=runner,
        events=(*declaration.events, timeout_class),
        app_label=declaration.app_label,
        retry=declaration.retry,
        on_dead_letter=declaration.on_dead_letter,
        using=declaration.using,
        takes_context=True,
        saga_key=runner.key_of,
    )


def _refuse_unknown(declaration: SagaDeclaration, key: str, decision: Decision) -> None:
    told = f"Saga {declaration.name} has no instance {key!r}"
    match decision.when_unknown:
        case "retry":
            raise RetryAside(f"{told} yet. The event that starts it may be on its way.")
        case "dead_letter":
            raise Reject(f"{told}.")


def _announce(declaration: SagaDeclaration, key: str, decision: Decision, *, event: object, config: BusConfig) -> None:
    if not signals.saga_stepped.has_listeners(type(event)):
        return

    def tell() -> None:
        signals.emit(
            signals.saga_stepped,
            type(event),
            saga=declaration.name,
            key=key,
            outcome=decision.outcome.value,
            method=decision.step,
            bus=config.alias,
        )

    transaction.on_commit(tell, using=declaration.using or config.database, robust=True)
