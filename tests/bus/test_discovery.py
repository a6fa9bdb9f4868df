from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import AppConfig

from django_eventbus.apps import _modules_of
from django_eventbus.exceptions import ConfigurationError


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppConfig:
    """An app with the modules `events`, `handlers` and `views`."""
    package = tmp_path / "bakery"
    package.mkdir()
    for name in ("__init__", "events", "handlers", "views"):
        (package / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    module = ModuleType("bakery")
    module.__path__ = [str(package)]
    module.__file__ = str(package / "__init__.py")
    monkeypatch.setitem(sys.modules, "bakery", module)
    return AppConfig("bakery", module)


def test_usual_modules_are_found(app: AppConfig) -> None:
    assert list(_modules_of(app)) == ["bakery.events", "bakery.handlers"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"eventbus_events": ()}, ["bakery.handlers"]),
        ({"eventbus_handlers": ()}, ["bakery.events"]),
        ({"eventbus_events": (), "eventbus_handlers": ()}, []),
        ({"eventbus_handlers": ["bakery.oven", ".till"]}, ["bakery.events", "bakery.oven", ".till"]),
    ],
)
def test_listed_modules_replace_the_usual_ones(app: AppConfig, attributes: dict[str, Any], expected: list[str]) -> None:
    for name, value in attributes.items():
        setattr(app, name, value)

    assert list(dict.fromkeys(_modules_of(app))) == expected


def test_text_instead_of_a_list_is_an_error(app: AppConfig) -> None:
    app.eventbus_events = "bakery.events"  # type: ignore[attr-defined]

    with pytest.raises(ConfigurationError, match=r"eventbus_events is 'bakery.events', but must be a list"):
        list(_modules_of(app))
