"""Which events does this project know, and which class takes a message?"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django_eventbus.exceptions import ContractError, NotAnEvent, Undecodable, UndecodableReason

from .codec import JSON, is_json
from .naming import version_segment
from .upcasting import Upcast, Upcasters, upcast, version_order

if TYPE_CHECKING:
    from .contract import EventContract

F = TypeVar("F", bound=Upcast)
Plan = tuple["EventContract", tuple[Upcast, ...]]


class EventRegistry:
    """Know every contract by its class and by its name and version. Filled while modules are imported, then read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects writes to what follows; reads need none
        self._by_class: dict[type[Any], EventContract] = {}
        self._by_name: dict[str, dict[str, EventContract]] = {}
        self._upcasters: dict[str, Upcasters] = {}
        self._plans: dict[tuple[str, str, type[Any] | None], Plan] = {}
        self._domain_events: set[type[Any]] = set()  # for one quick question in every publish

    def register(self, contract: EventContract) -> None:
        """Add a contract; a class that was imported again replaces itself. Duplicates are found by the checks."""
        with self._lock:
            versions = self._by_name.setdefault(contract.name, {})
            known = versions.setdefault(contract.version, contract)
            if known is not contract and _place(known) == _place(contract):
                del self._by_class[known.cls]
                versions[contract.version] = contract
            self._by_class[contract.cls] = contract
            if contract.is_domain_event:
                self._domain_events.add(contract.cls)
            self._plans.clear()

    def contract_of(self, event: object, /) -> EventContract:
        """Return the contract of an event or of its class; raise NotAnEvent for anything else."""
        cls = event if isinstance(event, type) else type(event)
        try:
            return self._by_class[cls]
        except KeyError:
            raise NotAnEvent(self._why_not(cls)) from None

    def has_domain_event(self, events: Iterable[object]) -> bool:
        """Say whether one of these events stays inside the service."""
        return not self._domain_events.isdisjoint(map(type, events))

    def find(self, name: str, version: str) -> EventContract | None:
        """Return the contract of exactly this name and version ("" finds what `resolve_version` says)."""
        return self._by_name.get(name, {}).get(self.resolve_version(name, version))

    def versions(self, name: str) -> list[EventContract]:
        """Return the contracts of a name, oldest version first; empty where nobody here knows the name."""
        contracts = self._by_name.get(name, {}).values()
        return sorted(contracts, key=lambda contract: version_order(contract.version))

    def all(self) -> list[EventContract]:
        """Return every contract in order of registration, duplicates included."""
        return list(self._by_class.values())

    def resolve_version(self, name: str, version: str) -> str:
        """Return the version that a record without one has: the only one its name knows, else "1"."""
        known = self._by_name.get(name, {})
        if version or "" in known:
            return version
        upcasters = self._upcasters.get(name)
        possible = known.keys() | (upcasters.sources().keys() if upcasters else set())
        return next(iter(possible)) if len(possible) == 1 else "1"

    def decode(
        self, name: str, version: str, data: bytes | None, *, content_type: str = JSON, into: type[Any] | None = None
    ) -> Any:
        """Return the event in the newest class that its version leads to, or in the class `into`.

        Raises Undecodable: MISSING_UPCASTER where no way leads there, else what is wrong with the data.
        """
        if not is_json(content_type):
            raise Undecodable(UndecodableReason.UNSUPPORTED_CONTENT_TYPE, f"{content_type!r} is not JSON")
        contract, steps = self._plans.get((name, version, into)) or self._plan(name, version, into)
        return contract.codec.decode(upcast(data, steps) if steps else data)

    def can_decode(self, name: str, version: str, *, into: type[Any]) -> bool:
        """Say whether a message of this name and version can become an event of the class `into`."""
        contract = self._by_class.get(into)
        return contract is not None and contract.name == name and self._path(version, contract) is not None

    def ancestry(self, contract: EventContract) -> list[EventContract]:
        """Return the contracts of all versions that can become an event of this one, itself included.

        A version whose class is gone is told from this one: only the version differs, and with it the topic.
        """
        declared = self._by_name.get(contract.name, {})
        upcasters = self._upcasters.get(contract.name)
        found = {version: known for version, known in declared.items() if self._path(version, contract) is not None}
        for version, written in (upcasters.sources() if upcasters else {}).items():
            if version not in declared and self._path(version, contract) is not None:
                found[version] = dataclasses.replace(
                    contract, version=version, version_segment=version_segment(written)
                )
        return list(found.values())

    def add_upcaster(self, cls: type[Any], function: Upcast, *, from_version: int | str) -> None:
        """Add a step from an old version towards the class; raise ContractError where it cannot belong there."""
        contract, source = self.contract_of(cls), str(from_version)
        if version_order(source) >= version_order(contract.version):
            raise ContractError(
                f"@upcaster({cls.__qualname__}, from_version={from_version!r}): the class has version "
                f"{contract.version!r}. Upcasters lead from an older version to a newer one."
            )
        with self._lock:
            upcasters = self._upcasters.setdefault(contract.name, Upcasters())
            holder = upcasters.add(function, from_version=from_version, target=contract.version)
            self._plans.clear()
        if holder is not function:
            raise ContractError(
                f"@upcaster({cls.__qualname__}, from_version={from_version!r}): "
                f"{holder.__qualname__} does that already. Keep one of them."
            )

    @contextmanager
    def isolated(self) -> Iterator[EventRegistry]:
        """Forget, at the end of the block, what was registered inside it. For tests; not for several threads."""
        saved = dict(self._by_class), {name: dict(found) for name, found in self._by_name.items()}
        upcasters = {name: found.copy() for name, found in self._upcasters.items()}
        try:
            yield self
        finally:
            with self._lock:
                self._by_class, self._by_name = saved
                self._domain_events &= self._by_class.keys()
                self._upcasters = upcasters
                self._plans.clear()

    def _plan(self, name: str, version: str, into: type[Any] | None) -> Plan:
        candidates = [self.contract_of(into)] if into else reversed(self.versions(name))
        for contract in candidates:
            steps = self._path(version, contract) if contract.name == name else None
            if steps is not None:
                self._plans[name, version, into] = contract, steps
                return contract, steps
        known = ", ".join(repr(contract.version) for contract in self.versions(name)) or "none"
        raise Undecodable(
            UndecodableReason.MISSING_UPCASTER,
            f"{name!r} version {version!r}: no class has it, no @upcaster leads on from it (versions here: {known})",
        )

    def _path(self, version: str, contract: EventContract) -> tuple[Upcast, ...] | None:
        source = self.resolve_version(contract.name, version)
        upcasters = self._upcasters.get(contract.name)
        if upcasters is None:
            return () if source == contract.version else None
        return upcasters.path(source, target=contract.version)

    def _why_not(self, cls: type[Any]) -> str:
        parent = next((base for base in cls.__mro__ if base in self._by_class), None)
        if issubclass(cls, list | tuple):
            return f"A {cls.__name__} is no event. To publish several, call publish_many()."
        if parent is None:
            return f"{cls.__module__}.{cls.__qualname__} is no event. Put @event(...) above the class."
        return (
            f"{cls.__module__}.{cls.__qualname__} inherits from the event {parent.__qualname__} but is not declared "
            "itself. Put @event with a name of its own above it."
        )


events = EventRegistry()


def upcaster(cls: type[Any], /, *, from_version: int | str) -> Callable[[F], F]:
    """Register a function that turns the payload of an old version (a dict) into that of the next; they chain.

    Numbers with a fraction arrive as Decimal, so that nothing is rounded. The function stays a plain callable.
    """

    def decorate(function: F) -> F:
        events.add_upcaster(cls, function, from_version=from_version)
        return function

    return decorate


def _place(contract: EventContract) -> tuple[str, str]:
    return contract.cls.__module__, contract.cls.__qualname__
