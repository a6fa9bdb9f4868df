"""What has a saga's method asked for so far, none of which is done before the method returns?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django_eventbus.delivery.context import MessageContext
from django_eventbus.events.registry import events
from django_eventbus.exceptions import EventBusError
from django_eventbus.models.saga import SagaStatus

from .compensation import Compensation, recall, remember
from .declaration import SagaDeclaration
from .instance import ArmedTimeout, Instance, Outgoing


class SagaMisused(EventBusError):
    """A saga's method asked for what cannot be done; its step is rolled back and counted as a failed attempt."""


class Draft:
    """Collect what one step asks for. `Saga` is what users see of it."""

    def __init__(
        self,
        declaration: SagaDeclaration,
        *,
        key: str,
        instance: Instance | None,
        context: MessageContext | None,
        now: datetime,
        may_change: bool = True,
    ) -> None:
        self.declaration = declaration
        self.key = key
        self.context = context
        self.now = now
        self.may_change = may_change  # False: there is no instance, or one that has ended
        self.status: SagaStatus | None = None if instance is None else instance.status
        self.state: Any = declaration.state.blank() if instance is None and may_change else None
        self.kept: dict[str, ArmedTimeout] = {}
        self.cancelled: dict[str, ArmedTimeout] = {}
        self.armed: dict[str, datetime] = {}
        self.compensations: list[Compensation] = []
        self.outgoing: list[Outgoing] = []
        if instance is not None:
            self.state = instance.state
            self.kept.update(instance.timeouts)
            self.compensations += instance.compensations

    def publish(self, event: object, options: Mapping[str, Any] | None = None) -> None:
        """Publish after the step; raise NotAnEvent at once."""
        events.contract_of(event)
        self.outgoing.append(Outgoing(event=event, options=options or {}))

    def arm(self, name: str, delay: timedelta | float) -> None:
        """Arm a timeout, in place of the one of that name."""
        self._require_running(f"schedule_timeout({name!r})")
        if name not in self.declaration.timeouts:
            known = ", ".join(map(repr, self.declaration.timeouts)) or "none"
            raise SagaMisused(f"{self._where} has no @on_timeout({name!r}), only {known}.")
        try:
            after = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
            due = self.now + after
        except (TypeError, ValueError, OverflowError):
            due = self.now
        if due <= self.now:
            raise SagaMisused(
                f"{self._where}: timeout {name!r} in {delay!r}. Give seconds or a timedelta, of a time to come."
            )
        self.disarm(name)
        self.armed[name] = due

    def disarm(self, name: str) -> bool:
        """Cancel a timeout; return whether it was armed."""
        if (waiting := self.kept.pop(name, None)) is not None:
            self.cancelled[name] = waiting
        return self.armed.pop(name, None) is not None or waiting is not None

    def complete(self) -> None:
        """End the instance: nothing moves it any more."""
        self._require_running("complete()")
        self._end(SagaStatus.COMPENSATED if self.status is SagaStatus.COMPENSATING else SagaStatus.COMPLETED)

    def add_compensation(self, event: object) -> None:
        """Remember what undoes the step that just succeeded; publish it at once where the undoing has begun."""
        self._require_running("add_compensation()")
        made = remember(event)
        if self.status is SagaStatus.COMPENSATING:
            self.outgoing.append(Outgoing(event=event, is_compensation=True))
        else:
            self.compensations.append(made)

    def compensate(self, *, wait: bool = False) -> None:
        """Publish the compensations, the latest first, each once; end the instance unless it is to wait."""
        self._require_running("compensate()")
        while self.compensations:
            self.outgoing.append(Outgoing(event=recall(self.compensations.pop()), is_compensation=True))
        self._disarm_all()
        if wait:
            self.status = SagaStatus.COMPENSATING
        else:
            self._end(SagaStatus.COMPENSATED)

    def begin(self) -> None:
        """Make a new instance of it."""
        self.status = SagaStatus.RUNNING

    def replace_state(self, state: object) -> None:
        """Set the state; raise SagaMisused for an object of another class."""
        if not self.may_change:
            raise SagaMisused(f"{self._where}: self.state cannot be set in @not_found, where nothing runs.")
        if not self.declaration.state.accepts(state):
            raise SagaMisused(
                f"{self._where}: self.state is to be {type(state).__qualname__}, but is declared as "
                f"{self.declaration.state.cls.__qualname__}."
            )
        self.state = state

    @property
    def has_ended(self) -> bool:
        return self.status is not None and self.status.is_final

    def _end(self, status: SagaStatus) -> None:
        self.status = status
        self.compensations.clear()
        self._disarm_all()

    def _disarm_all(self) -> None:
        for name in (*self.kept, *self.armed):
            self.disarm(name)

    def _require_running(self, act: str) -> None:
        if not self.may_change:
            raise SagaMisused(f"{self._where}: {act} in @not_found, where nothing runs. It can only publish.")
        if self.has_ended:
            raise SagaMisused(f"{self._where}: {act} after the saga has ended.")

    @property
    def _where(self) -> str:
        return f"Saga {self.declaration.name} ({self.key})"
