"""What does a class promise when it declares itself an event that stays inside the service?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypedDict, TypeVar, Unpack, dataclass_transform

from django_eventbus.exceptions import ContractError

from .codec import Codec
from .contract import Dispatch, EventContract, require_known, require_name, require_version
from .frozen import freeze
from .keys import EventKey, KeyDeclaration, require_fields
from .naming import to_kebab, version_segment
from .registry import events

T = TypeVar("T")


class DomainOptions(TypedDict, total=False):
    """The parameters of `@domain_event` beside the name."""

    version: int | str  # 1 by default; matters to queued events, which may wait while the code changes
    dispatch: Literal["inline", "on_commit", "queued"]  # when and where the handlers run; inline by default
    key: KeyDeclaration  # field name, tuple of names, or callable: queued events of one key keep their order
    must_translate: bool  # publishing it without an @translates function is an error


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def domain_event(name: str | None = None, /, **options: Unpack[DomainOptions]) -> Callable[[type[T]], type[T]]:
    """Declare an event that stays inside the service, and make its class a frozen, slotted, keyword-only dataclass.

    Without `dispatch`, handlers run inside `publish()`: an exception rolls back the caller. A queued event demands a
    name, under which it is stored. Raises ContractError for what can be seen at once; `manage.py check` finds the rest.
    """
    if isinstance(name, type):
        raise ContractError(f"@domain_event on {name.__qualname__} is not called. Write @domain_event().")
    return lambda cls: _declare(cls, name, options)


def _declare(cls: type[T], name: str | None, options: DomainOptions) -> type[T]:
    require_known(cls, options, known=DomainOptions.__annotations__.keys())
    version, dispatch = options.get("version", 1), _read_dispatch(cls, options.get("dispatch", "inline"))
    if name is None and dispatch is Dispatch.QUEUED:
        raise ContractError(
            f"{cls.__qualname__}: a queued event is stored under its name, which must outlive modules and classes. "
            "Write @domain_event('shop.orders.order-placed', dispatch='queued')."
        )
    wire_name = default_name(cls) if name is None else name
    require_name(cls, wire_name)
    require_version(cls, version)
    made = freeze(cls)
    require_fields(made, options.get("key"))
    contract = EventContract(
        cls=made,
        name=wire_name,
        version=str(version),
        version_segment=version_segment(version),
        key=EventKey(made, options.get("key")),
        dispatch=dispatch,
        must_translate=options.get("must_translate", False),
        codec=Codec(made),
    )
    contract.codec.compile_early()
    events.register(contract)
    return made


def default_name(cls: type[Any]) -> str:
    """Name an event that nobody stores after its package and class: shop.orders.order-placed."""
    package = cls.__module__.rpartition(".")[0] or cls.__module__
    return f"{package}.{to_kebab(cls.__qualname__.rpartition('.')[2])}".replace("_", "-").lower()


def _read_dispatch(cls: type[Any], dispatch: str) -> Dispatch:
    try:
        return Dispatch(dispatch)
    except ValueError:
        known = ", ".join(repr(str(one)) for one in Dispatch)
        raise ContractError(f"{cls.__qualname__}: dispatch={dispatch!r}; give one of {known}.") from None
