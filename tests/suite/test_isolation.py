"""What a test declares is forgotten when it ends, in every registry that there is."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

import django_eventbus
from django_eventbus.delivery.registry import handler, handlers
from django_eventbus.events.contract import event
from django_eventbus.events.registry import events
from tests.conftest import registries

OPTIONAL = ("contrib", "pytest_plugin", "management", "migrations")


def test_every_registry_is_isolated() -> None:
    names = [module.name for module in pkgutil.walk_packages(django_eventbus.__path__, "django_eventbus.")]
    modules = [import_module(name) for name in names if name.split(".")[1] not in OPTIONAL]
    found = {id(value) for module in modules for value in vars(module).values() if is_registry(value)}

    assert found == {id(registry) for registry in registries()}


def is_registry(value: object) -> bool:
    return hasattr(type(value), "isolated")


@pytest.mark.parametrize("again", [1, 2])
def test_what_a_test_declares_the_next_one_does_not_find(again: int) -> None:
    assert handlers.find("suite.only_here") is None

    @event("suite.things.seen", entity="thing", domain="suite")
    class Seen:
        number: int

    @handler(Seen, name="suite.only_here")
    def only_here(event: Seen) -> None: ...

    assert [contract.version for contract in events.versions("suite.things.seen")] == ["1"]
