"""How does an annotated class become a frozen, slotted, keyword-only dataclass, and what cannot be carried?"""

from __future__ import annotations

import dataclasses
import inspect
from functools import cached_property
from typing import TypeVar

from django_eventbus.exceptions import ContractError

T = TypeVar("T")


def freeze(cls: type[T]) -> type[T]:
    """Return the class as a frozen dataclass; one that is a frozen dataclass already is returned itself."""
    if "__dataclass_fields__" in vars(cls):
        if not vars(cls)["__dataclass_params__"].frozen:
            raise ContractError(
                f"{cls.__qualname__} is a dataclass but not frozen. Use @dataclass(frozen=True), or none."
            )
        _require_carriable(cls)
        return cls
    _require_plain(cls)
    try:
        made = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)
    except (TypeError, ValueError) as exc:
        raise ContractError(f"{cls.__qualname__} cannot become an event: {exc}.") from exc
    _require_carriable(made)
    if made is not cls:
        _rebind(cls, made)
    return made


def _require_plain(cls: type[object]) -> None:
    for name, member in vars(cls).items():
        if isinstance(member, cached_property):
            raise ContractError(f"{cls.__qualname__}.{name}: events have slots, so no cached_property. Use property.")


def _require_carriable(cls: type[object]) -> None:
    if getattr(cls, "__parameters__", ()):
        raise ContractError(
            f"{cls.__qualname__} is generic. An event names the types that travel: declare one class each."
        )
    for field in vars(cls)["__dataclass_fields__"].values():
        where = f"{cls.__qualname__}.{field.name}"
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            raise ContractError(
                f"{where} is an InitVar, which no instance keeps and so nothing can send. Make it a field."
            )
        if not field.init and field._field_type is dataclasses._FIELD:  # type: ignore[attr-defined]
            raise ContractError(f"{where} has init=False, so no consumer could set it. Make it a property.")


def _rebind(old: type[object], made: type[object]) -> None:
    """Point `super()` and `__class__` in the methods at the copy that slots=True made (bpo-90562)."""
    for member in vars(made).values():
        for function in (member, *(getattr(member, name, None) for name in ("__func__", "fget", "func"))):
            unwrapped = inspect.unwrap(function) if callable(function) else function
            for cell in getattr(unwrapped, "__closure__", None) or ():
                try:
                    is_old = cell.cell_contents is old
                except ValueError:  # the cell is still empty
                    continue
                if is_old:
                    cell.cell_contents = made
