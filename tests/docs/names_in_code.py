"""Which names does the code have? Read from the code itself: no list here is kept by hand."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from _pytest.fixtures import FixtureFunctionDefinition
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal

import django_eventbus
from django_eventbus import exceptions, models, pytest_plugin, signals, testing
from django_eventbus.conf.loading import SECTIONS, fields_of
from django_eventbus.conf.sections import BusConfig
from django_eventbus.contrib import celery
from django_eventbus.events import envelope
from django_eventbus.events.cloudevents import to_headers
from django_eventbus.events.envelope import Envelope
from django_eventbus.exceptions import UndecodableReason
from django_eventbus.models.dead_letter import DeadLetterReason
from django_eventbus.models.saga import SagaStatus
from django_eventbus.sagas.decision import Outcome
from django_eventbus.telemetry.metrics import MessageMeters

from .pages import ROOT

PACKAGE = ROOT / "django_eventbus"
CHECK_ID = re.compile(r"""["'](?:eventbus\.)?([EW]\d{3})["']""")
APP_ATTRIBUTE = re.compile(r"AppConfig\.(eventbus_\w+)|getattr\(\w+, \"(eventbus_\w+)\"")
ATTRIBUTE = re.compile(r"(?:eventbus|messaging|cloudevents|error)(?:\.[a-z_]+)+")


@cache
def sources(room: str = "") -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text()) for path in sorted((PACKAGE / room).rglob("*.py")))


@cache
def texts(room: str = "") -> frozenset[str]:
    """Return every text constant of a room that is no docstring."""
    nodes = [node for tree in sources(room) for node in ast.walk(tree)]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return frozenset(node.value for node in constants if isinstance(node.value, str))


@cache
def check_ids() -> set[str]:
    found = {name for path in PACKAGE.rglob("*.py") for name in CHECK_ID.findall(path.read_text())}
    return {f"eventbus.{name}" for name in found}


@cache
def commands() -> set[str]:
    return {name for name, app in get_commands().items() if app == "django_eventbus"}


@cache
def options_of(command: str) -> frozenset[str]:
    """Return every option of a management command, with those that Django gives to all."""
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    return frozenset(name for action in parser._actions for name in action.option_strings)


@cache
def exit_statuses() -> set[str]:
    """Collect the statuses that commands name in their docstrings."""
    documented = [inspect.getdoc(load_command_class("django_eventbus", name)) or "" for name in commands()]
    return {number for text in documented for number in re.findall(r"\b(\d)\b", text.partition("Exit with")[2])}


def statuses_in_source(command: str) -> set[str]:
    """Collect the statuses that a command can end with, from the places where it sets them."""
    tree = ast.parse((PACKAGE / "management" / "commands" / f"{command}.py").read_text())
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="SystemExit"), args=[value]):
                found.append(value)
            case ast.keyword(arg="returncode", value=value):
                found.append(value)
            case ast.Return(value=ast.Tuple(elts=[_, value])) | ast.Return(value=ast.IfExp() as value):
                found.append(value)
    leaves = [leaf for value in found for leaf in ast.walk(value) if isinstance(leaf, ast.Constant)]
    return {str(leaf.value) for leaf in leaves if type(leaf.value) is int}


@cache
def tables() -> set[str]:
    return {model._meta.db_table for model in apps.get_app_config("eventbus").get_models()}


def model_names() -> set[str]:
    return {name for name in models.__all__ if inspect.isclass(getattr(models, name))}


def permissions() -> set[str]:
    own = [model._meta.permissions for model in apps.get_app_config("eventbus").get_models()]
    return {f"eventbus.{codename}" for group in own for codename, _ in group}


def default_permissions() -> set[str]:
    owned = apps.get_app_config("eventbus").get_models()
    return {f"eventbus.{verb}_{m._meta.model_name}" for m in owned for verb in m._meta.default_permissions}


def sections() -> set[str]:
    return {"BUS", *SECTIONS}


def setting_keys() -> set[str]:
    return {key for section in (BusConfig, *SECTIONS.values()) for key in fields_of(section)} | set(SECTIONS)


@cache
def app_attributes() -> set[str]:
    from django_eventbus.apps import MODULES

    found = [pair for path in PACKAGE.rglob("*.py") for pair in APP_ATTRIBUTE.findall(path.read_text())]
    return {*(name for pair in found for name in pair), *MODULES.values()} - {""}


def signal_names() -> set[str]:
    return {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def log_fields() -> set[str]:
    return set(signals.message_fields(full_envelope()))


class Recorder:
    """Stand for OpenTelemetry's meter, and remember the names that are asked of it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda name, *details, **options: self.names.add(name)


@cache
def metrics() -> set[str]:
    recorder: Any = Recorder()
    MessageMeters(recorder)
    return set(recorder.names)


@cache
def attributes() -> set[str]:
    """Return the attributes of spans and metrics."""
    return {text for text in texts("telemetry") if ATTRIBUTE.fullmatch(text)} - metrics()


def operations() -> set[str]:
    """Return the names of spans."""
    calls = [node for tree in sources("telemetry") for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if getattr(call.func, "id", "") == "operation_attributes"]
    return {f"{call.args[0].value!s} {{topic}}" for call in made if isinstance(call.args[0], ast.Constant)}


def full_envelope() -> Envelope:
    """Return an envelope that says everything an envelope can say."""
    texts = ("event_name", "event_version", "source", "topic", "subject", "dataschema", "correlation_id")
    trace = ("causation_id", "tenant_id", "traceparent", "tracestate", "baggage")
    said: dict[str, Any] = {name: name for name in (*texts, *trace)}
    return Envelope(message_id="1", key=b"k", data=b"{}", published_at=datetime(2030, 1, 1, tzinfo=UTC), **said)


def headers() -> set[str]:
    constants = {value for name, value in vars(envelope).items() if name.endswith("_HEADER")}
    return constants.union(name for name, _ in to_headers(full_envelope()))


def fixtures() -> set[str]:
    return {name for name, value in vars(pytest_plugin).items() if isinstance(value, FixtureFunctionDefinition)}


def tasks() -> set[str]:
    return {task.name for task in vars(celery).values() if hasattr(task, "apply_async")}


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def values_of(choices: type[Enum]) -> Callable[[], set[str]]:
    return lambda: {str(choice.value) for choice in choices}


def errors() -> set[str]:
    return {name for name in django_eventbus.__all__ if hasattr(exceptions, name)}


def public_names() -> set[str]:
    """Return what autodoc has to describe; the page of the exceptions describes its module as a whole."""
    own = {f"django_eventbus.{name}" for name in django_eventbus.__all__ if name not in errors()}
    return own | {f"django_eventbus.testing.{name}" for name in testing.__all__}


def public_members(cls: type) -> set[str]:
    """Return the methods and properties that a class of ours adds, without those of its bases elsewhere."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("django_eventbus")]
    members = {name: getattr(cls, name) for base in ours for name in vars(base) if not name.startswith("_")}
    return {name for name, value in members.items() if isinstance(value, property) or is_for_users(value)}


def is_for_users(member: object) -> bool:
    """Tell methods from attributes, and from those methods that take what only the bus itself has."""
    return (inspect.isfunction(member) or inspect.ismethod(member)) and "Config" not in str(inspect.signature(member))


dead_letter_reasons = values_of(DeadLetterReason)
saga_statuses = values_of(SagaStatus)
saga_outcomes = values_of(Outcome)
undecodable_reasons = values_of(UndecodableReason)
