"""How is the state of a saga kept, and how does an old one become the newest class?"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
from django.db.models import Model

from django_eventbus.events.codec import Codec
from django_eventbus.events.inspection import leaves
from django_eventbus.events.upcasting import Upcast, Upcasters, upcast, version_order
from django_eventbus.exceptions import ContractError, Undecodable, UndecodableReason
from django_eventbus.models.saga import SagaModel


class StateType:
    """Know the class of a saga's state: a dataclass, kept as JSON, or a model of the project, kept in its own table."""

    def __init__(self, cls: type[Any], *, version: str) -> None:
        self.cls = cls
        self.version = version  # stored with each state of a dataclass
        self.is_model = issubclass(cls, Model)
        self._codec = None if self.is_model else Codec(cls)
        self._upcasters = Upcasters()

    @property
    def codec(self) -> Codec:
        """Return what reads and writes a dataclass; a model has none."""
        if self._codec is None:
            raise ContractError(f"{self.cls.__qualname__} is a model: its own table holds it, not JSON.")
        return self._codec

    def blank(self) -> Any:
        """Return the state of an instance that has just started, or None where a field has no default."""
        if self.is_model:
            return None
        demanded = any(
            field.init and field.default is field.default_factory is dataclasses.MISSING
            for field in dataclasses.fields(self.cls)
        )
        return None if demanded else self.cls()

    def accepts(self, state: object) -> bool:
        """Say whether an object can be the state; one of a subclass would come back without its own fields."""
        return isinstance(state, self.cls) if self.is_model else type(state) is self.cls

    def encode(self, state: object) -> bytes:
        """Return the JSON of a state; raise EventInvalid where values do not fit the declared types."""
        return self.codec.encode(state)

    def decode(self, data: bytes, *, version: str) -> Any:
        """Return a stored state in the newest class; raise Undecodable where no way leads there."""
        if version == self.version:
            return self.codec.decode(data)
        steps = self._upcasters.path(version, target=self.version)
        if steps is None:
            raise Undecodable(
                UndecodableReason.MISSING_UPCASTER,
                f"state {self.cls.__qualname__} of version {version!r}: no upcaster leads from it to {self.version!r}",
            )
        return self.codec.decode(upcast(data, steps))

    def add_upcaster(self, function: Upcast, *, from_version: int | str) -> None:
        """Add a step from an old version towards this one; raise ContractError where it cannot belong there."""
        shown = f"{function.__qualname__}: upcaster(from_version={from_version!r})"
        if self.is_model:
            raise ContractError(f"{shown}: the state is a model. Write a migration.")
        if version_order(str(from_version)) >= version_order(self.version):
            raise ContractError(f"{shown}: the saga has version {self.version!r}; upcasters lead from older ones.")
        holder = self._upcasters.add(function, from_version=from_version, target=self.version)
        if holder is not function:
            raise ContractError(f"{shown}: {holder.__qualname__} does that already. Keep one of them.")


def read_state_type(saga: str, cls: object, *, version: str) -> StateType:
    """Return how this state is kept; raise ContractError for a class that cannot be one."""
    if not isinstance(cls, type):
        raise ContractError(f"{saga}: Saga[{cls!r}] names no class. Write Saga[State], with State declared above it.")
    if issubclass(cls, Model):
        return StateType(cls, version=version)
    if not dataclasses.is_dataclass(cls):
        raise ContractError(f"{saga}: {cls.__qualname__} is neither a dataclass nor a model. Put @dataclass above it.")
    made = StateType(cls, version=version)
    made.codec.compile_early()
    return made


def state_problem(state: StateType) -> str:
    """Return what is wrong with the class of a state now that every name can be resolved; empty if nothing is."""
    if state.is_model:
        return (
            "" if issubclass(state.cls, SagaModel) else "a model has to inherit django_eventbus.models.saga.SagaModel"
        )
    try:
        state.codec.compile()
        unknown = [field for field, leaf, _ in leaves(state.cls) if _is_unknown(leaf)]
    except (NameError, AttributeError) as exc:
        return f"an annotation cannot be resolved: {exc}"
    except ContractError as exc:
        return str(exc)
    return f"JSON cannot carry the field {unknown[0]!r}" if unknown else ""


def _is_unknown(leaf: object) -> bool:
    return isinstance(leaf, type) and isinstance(msgspec.inspect.type_info(leaf), msgspec.inspect.CustomType)
