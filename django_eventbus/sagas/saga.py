"""What does the author of a saga write, and what can its methods ask for?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, Unpack

from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import handlers
from django_eventbus.events.upcasting import Upcast
from django_eventbus.exceptions import ContractError
from django_eventbus.models.saga import SagaStatus
from django_eventbus.outbox.publisher import PublishOptions

from .declaration import sagas
from .diagram import draw
from .draft import Draft, SagaMisused
from .reading import SagaOptions, read_declaration
from .runner import handler_of

S = TypeVar("S")
U = TypeVar("U", bound=Upcast)


class Saga(Generic[S]):
    """Inherit as `Saga[State]` and decorate methods; each runs in one transaction with the instance's row locked.

    An object of the class lives for one step: what is to last stands in `self.state`. Nothing that a method asks for is
    done before it has returned.
    """

    def __init__(self, draft: Draft, /) -> None:
        super().__setattr__("_draft", draft)

    def __init_subclass__(cls, **options: Unpack[SagaOptions]) -> None:
        super().__init_subclass__()
        state = _state_class(cls)
        if not isinstance(state, TypeVar):  # else a base that several sagas share
            declaration = read_declaration(cls, state, options, reserved=frozenset(vars(Saga)))
            sagas.register(declaration)
            handlers.register(handler_of(declaration))

    def __setattr__(self, name: str, value: object) -> None:
        if name != "state":
            raise SagaMisused(
                f"self.{name} of {type(self).__qualname__} would end with this step. Keep it in self.state."
            )
        super().__setattr__(name, value)

    @property
    def state(self) -> S:
        """What the saga remembers. Change it in place where its class allows, or assign a new one."""
        if self._draft.state is None:
            raise SagaMisused(f"{type(self).__qualname__} has no state yet. Assign self.state first.")
        state: S = self._draft.state
        return state

    @state.setter
    def state(self, state: S) -> None:
        self._draft.replace_state(state)

    @property
    def key(self) -> str:
        """Say which instance this is: what its events have in common."""
        return self._draft.key

    @property
    def context(self) -> MessageContext:
        """Return the context of the message that is being handled."""
        if self._draft.context is None:
            raise SagaMisused(f"{type(self).__qualname__}: this step has no message.")
        return self._draft.context

    @property
    def now(self) -> datetime:
        """Return the time of this step, which tests set."""
        return self._draft.now

    @property
    def status(self) -> SagaStatus | None:
        """Say whether it runs or compensates; in `@not_found` None, or how it ended."""
        return self._draft.status

    def publish(self, event: object, /, **options: Unpack[PublishOptions]) -> None:
        """Publish an event with this step; a returned event is published as well. Takes the options of `publish()`."""
        self._draft.publish(event, options)

    def schedule_timeout(self, name: str, delay: timedelta | float) -> None:
        """Have the `@on_timeout` method of this name run after `delay` (timedelta or seconds).

        Replaces the one of that name that waits. It is cancelled when the saga ends or compensates.
        """
        self._draft.arm(name, delay)

    def cancel_timeout(self, name: str) -> bool:
        """Cancel a timeout; return whether one was waiting."""
        return self._draft.disarm(name)

    def complete(self) -> None:
        """End the saga: as `completed`, or as `compensated` where it was compensating."""
        self._draft.complete()

    def add_compensation(self, event: object) -> None:
        """Remember an event that undoes what this step did; published at once where the saga is compensating."""
        self._draft.add_compensation(event)

    def compensate(self, *, wait: bool = False) -> None:
        """Publish the remembered compensations, the latest first, each once, and end the saga as `compensated`.

        With `wait=True` it stays `compensating`, takes the events that confirm them, and ends with `complete()`.
        Cancels all timeouts; new ones can be scheduled after it.
        """
        self._draft.compensate(wait=wait)

    @classmethod
    def diagram(cls, *, current: object = None) -> str:
        """Return a Mermaid state diagram, with the stage where an instance stands marked."""
        return draw(sagas.of(cls), current=current)

    @classmethod
    def upcaster(cls, *, from_version: int | str) -> Callable[[U], U]:
        """Register a function that turns the state of an old version (a dict) into that of the next; they chain."""

        def decorate(function: U) -> U:
            sagas.of(cls).state.add_upcaster(function, from_version=from_version)
            return function

        return decorate

    _draft: Draft


def _state_class(cls: type[Saga[Any]]) -> Any:
    """Find S in the bases of a class, or of the saga that it inherits from."""
    for base in vars(cls).get("__orig_bases__", ()):
        origin = getattr(base, "__origin__", None)
        if isinstance(origin, type) and issubclass(origin, Saga):
            return base.__args__[0]
    inherited = next((each for each in sagas.all() if each.cls in cls.__mro__), None)
    if inherited is None:
        raise ContractError(f"{cls.__qualname__} does not say what its state is. Write Saga[State].")
    return inherited.state.cls
