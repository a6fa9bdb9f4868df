"""How does an instance come out of the database, and how does a step go back into it?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Model

from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import Reject
from django_eventbus.models import SagaState
from django_eventbus.models.saga import SagaModel, SagaStateQuerySet, SagaStatus, StoredSaga
from django_eventbus.models.saga_step import Step, record_step

from .compensation import read_stack, write_stack
from .decision import Decision
from .declaration import SagaDeclaration
from .instance import ArmedTimeout, Instance
from .preloading import take_preloaded

logger = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder(enc_hook=str)
_timeouts = msgspec.json.Decoder(dict[str, ArmedTimeout])


class StateTooLarge(Reject):
    """A saga keeps more than `SAGA['MAX_STATE_BYTES']`; no retry would make it smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Be an instance as it was read, and what a write has to find unchanged."""

    id: int
    version: int
    size: int  # bytes of the state and of the compensations beside it
    instance: Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Say what moved an instance, for its history."""

    message: str  # name of the event, of the timeout, or of an operator's act
    message_id: str = ""
    source: str = ""
    attempt: int = 1
    actor: str = ""
    reason: str = ""


class Store:
    """Read and write the instances of one saga on one database; every call must run inside atomic."""

    def __init__(self, declaration: SagaDeclaration, config: BusConfig) -> None:
        self._declaration = declaration
        self._config = config
        self.using = declaration.using or config.database

    def load(self, key: str) -> Loaded | None:
        """Return an instance, locked unless the saga is optimistic."""
        found = self._found(key)
        if found is None:
            return None
        instance = Instance(
            status=SagaStatus(found.status),
            state=self._state_of(found, key),
            timeouts={} if found.timeouts == "{}" else _timeouts.decode(found.timeouts),
            compensations=read_stack(found.compensations),
        )
        return Loaded(
            id=found.id, version=found.version, size=_size(found.state, found.compensations), instance=instance
        )

    def save(
        self,
        key: str,
        decision: Decision,
        *,
        loaded: Loaded | None,
        timeouts: Mapping[str, ArmedTimeout],
        outgoing: Sequence[tuple[str, UUID]],
        cause: Cause,
    ) -> bool:
        """Write a step and its line of the history; return False, with nothing written, where another came first."""
        assert decision.status is not None
        state, remembered = self._written(decision.state)
        step = Step(
            saga=self._declaration.name,
            key=key,
            bus=self._config.alias,
            id=None if loaded is None else loaded.id,
            version=1 if loaded is None else loaded.version + 1,
            status=decision.status,
            state=state,
            state_version=self._declaration.state.version,
            timeouts=_json(timeouts) if timeouts else "{}",
            compensations=self._stacked(key, decision, state, before=0 if loaded is None else loaded.size),
            outcome=decision.outcome.value,
            method=decision.step,
            remembered=remembered,
            outgoing=_json(outgoing) if outgoing else "[]",
            timeout_changes=_changes(decision),
            message=cause.message,
            message_id=cause.message_id,
            source=cause.source,
            attempt=cause.attempt,
            actor=cause.actor,
            reason=cause.reason,
        )
        if not record_step(step, using=self.using):
            return False
        if self._declaration.state.is_model:
            self._save_model(key, decision.state, is_new=loaded is None)
        return True

    def _found(self, key: str) -> StoredSaga | None:
        is_there, found = take_preloaded(self._declaration.name, key, using=self.using)
        if is_there:
            return found
        rows = SagaStateQuerySet(SagaState, using=self.using)
        return rows.find(self._declaration.name, key, locks=self._declaration.concurrency == "lock")

    def _state_of(self, found: StoredSaga, key: str) -> Any:
        kind = self._declaration.state
        if kind.is_model:
            return _base_manager(kind.cls).using(self.using).filter(saga_key=key).first()
        return kind.decode((found.state or "null").encode(), version=found.state_version)

    def _written(self, state: Any) -> tuple[str | None, str | None]:
        if self._declaration.state.is_model:
            fields = {field.attname: field.value_from_object(state) for field in state._meta.concrete_fields}
            return None, _json(fields)
        text = self._declaration.state.encode(state).decode()
        return text, text

    def _stacked(self, key: str, decision: Decision, state: str | None, *, before: int) -> str:
        """Return the compensations as they are kept; raise StateTooLarge where state and they grow too large."""
        compensations = write_stack(decision.compensations) if decision.compensations else "[]"
        limits = self._config.saga
        size, undoing = _size(state, compensations), _size(None, compensations)
        if size > max(limits.max_state_bytes, before):  # whoever is too large already may still shrink, and end
            raise StateTooLarge(
                f"Saga {self._declaration.name} ({key}) would keep {size} bytes, {size - undoing} of its state and "
                f"{undoing} of its compensations: more than EVENTBUS[{self._config.alias!r}]['SAGA']"
                f"['MAX_STATE_BYTES'] = {limits.max_state_bytes}. Keep what the next step decides by, and references "
                "to the rest; undo many steps with one event."
            )
        if size > limits.warn_state_bytes >= before:
            logger.warning(
                "saga state grows saga=%s key=%s bytes=%s compensations=%s",
                *(self._declaration.name, ascii(key), size, undoing),
            )
        return compensations

    def _save_model(self, key: str, state: SagaModel, *, is_new: bool) -> None:
        state.saga_key = key
        state.save(using=self.using, force_insert=is_new)


def _size(state: str | None, compensations: str) -> int:
    return sum(len(text.encode()) for text in (state or "", compensations) if text != "[]")


def read_timeouts(text: str) -> dict[str, ArmedTimeout]:
    """Return the timeouts that a column holds, by name."""
    return _timeouts.decode(text)


def _changes(decision: Decision) -> str:
    if not decision.timeouts_set and not decision.timeouts_cancelled:
        return "{}"
    cancelled = {name: armed.due_at for name, armed in decision.timeouts_cancelled.items()}
    return _json({"set": dict(decision.timeouts_set), "cancelled": cancelled})


def _base_manager(model: type[Model]) -> Any:
    return model._base_manager  # a default manager may hide rows


def _json(value: object) -> str:
    return _encoder.encode(value).decode()
