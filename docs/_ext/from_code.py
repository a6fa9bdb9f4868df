"""Which parts of the reference are read from the code itself, so that they cannot drift from it?"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import django_eventbus
from django_eventbus.conf.loading import SECTIONS, fields_of
from django_eventbus.conf.reading import expectation
from django_eventbus.conf.sections import BusConfig

PACKAGE = Path(django_eventbus.__file__).parent
COMPUTED = {"SERVICE": "computed", "SOURCE": "computed", "GROUP": "computed", "CREATE_TOPICS": "`DEBUG`"}
LATER = {"MIDDLEWARE"}  # fields that only keep a place
OUTSIDE_PARENTHESES = re.compile(r": (?![^(]*\))")


class FromCode(SphinxDirective):
    """Parse Markdown that was written from code."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        lines = list(self.write(self.arguments[0]))
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.env.doc2path(self.env.docname)), 0, container)
        return container.children

    def write(self, argument: str) -> Iterable[str]:
        raise NotImplementedError


class Settings(FromCode):
    """Write one section of EVENTBUS as a table: `BUS` for the top level."""

    def write(self, argument: str) -> Iterable[str]:
        section = BusConfig if argument == "BUS" else SECTIONS[argument]
        comments = comments_of(section)
        yield from table(
            ("Key", "Takes", "Default", "Meaning"),
            (
                (f"`{key}`", expectation(kind), default_of(section, key), comments[key.lower()])
                for key, kind in fields_of(section).items()
                if key not in LATER
            ),
        )


class Fields(FromCode):
    """Write the annotated names of a class, with their trailing comments, as a table."""

    def write(self, argument: str) -> Iterable[str]:
        cls = import_string(argument)
        comments = comments_of(cls)
        yield from table(
            ("Name", "Type", "Meaning"),
            (
                (f"`{name}`", f"`{getattr(hint, '__forward_arg__', hint)}`", comments.get(name, ""))
                for name, hint in cls.__annotations__.items()
            ),
        )


class Command(FromCode):
    """Write a management command's help, options and exit statuses."""

    def write(self, argument: str) -> Iterable[str]:
        command = load_command_class("django_eventbus", argument)
        yield str(command.help)
        yield ""
        yield from table(("Argument", "Meaning"), map(option_row, own_actions(command)))
        yield inspect.cleandoc(command.__doc__ or "")


class Modules(FromCode):
    """List the modules of one room, each with the question that it answers; `.` for those at the top."""

    def write(self, argument: str) -> Iterable[str]:
        yield from table(
            ("Module", "The question that it answers"),
            ((f"`{path.relative_to(PACKAGE).as_posix()}`", question_of(path)) for path in modules_of(argument)),
        )


class Tables(FromCode):
    """Write one model: its table, what a row is, and its columns."""

    def write(self, argument: str) -> Iterable[str]:
        model = import_string(f"django_eventbus.models.{argument}")
        comments = dict(comment for cls in reversed(model.__mro__[:-1]) for comment in safe_comments(cls))
        yield f"Table `{model._meta.db_table}`. {first_paragraph(model)}"
        yield ""
        columns = [field for field in model._meta.get_fields() if getattr(field, "column", None)]
        yield from table(
            ("Column", "Type", "Meaning"),
            ((f"`{f.column}`", f.get_internal_type(), comments.get(f.name, "")) for f in columns),
        )


class Signals(FromCode):
    """Write the signals of a module, each with the comment above it: its arguments, then its moment."""

    def write(self, argument: str) -> Iterable[str]:
        for name, comment in signals_of(argument):
            arguments, moment = OUTSIDE_PARENTHESES.split(comment, maxsplit=1)
            yield f"`{name}`"
            yield f": {moment[0].upper()}{moment[1:]}"
            yield ""
            yield f"  Arguments: {arguments}."
            yield ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(head)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def comments_of(cls: type) -> dict[str, str]:
    """Read `name: type = default  # comment` from the source of a class; a comment may go on below its line."""
    found: dict[str, str] = {}
    for line in inspect.getsource(cls).splitlines():
        if declared := re.match(r"    (\w+)\s*[:=].*?  # (?!type:|noqa)(.+)$", line):
            found[declared[1]] = declared[2]
    return found


def safe_comments(cls: type) -> Iterable[tuple[str, str]]:
    return comments_of(cls).items() if cls.__module__.startswith("django_eventbus") else ()


def default_of(section: type, key: str) -> str:
    if section is BusConfig and key in COMPUTED:
        return COMPUTED[key]
    field = next(f for f in dataclasses.fields(section) if f.name == key.lower())
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    if field.default is dataclasses.MISSING:
        return "none"
    return f"`{shown(field.default)}`"


def shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"timedelta(days={value.days})" if not value.seconds and value.days else f"{value.total_seconds():g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    return repr(value)


def own_actions(command: BaseCommand) -> list[argparse.Action]:
    """Return the arguments that are this command's own, not those of every Django command."""
    common = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions}
    actions = command.create_parser("manage.py", "any")._actions
    return [a for a in actions if a.dest not in common and a.help != argparse.SUPPRESS]


def option_row(action: argparse.Action) -> tuple[str, str]:
    name = " ".join(action.option_strings[-1:]) or action.dest
    value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
    meaning = (action.help or "") % {"default": action.default, "prog": "manage.py"}
    return f"`{name}{value}`", meaning


def modules_of(room: str) -> list[Path]:
    if room == ".":
        return sorted(path for path in PACKAGE.glob("*.py") if path.stem != "__init__")
    return sorted(path for path in (PACKAGE / room).rglob("*.py") if question_of(path))


def question_of(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def first_paragraph(thing: object) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def signals_of(module: str) -> Iterator[tuple[str, str]]:
    comment: list[str] = []
    for line in inspect.getsource(import_module(module)).splitlines():
        if line.startswith("# "):
            comment.append(line[2:])
            continue
        if declared := re.match(r"(\w+) = Signal\(\)", line):
            yield declared[1], textwrap.dedent(" ".join(comment))
        comment = []


def setup(app: Sphinx) -> dict[str, bool]:
    written = {
        "from-settings": Settings,
        "from-fields": Fields,
        "from-command": Command,
        "from-modules": Modules,
        "from-model": Tables,
        "from-signals": Signals,
    }
    for name, directive in written.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
