"""The reference names what the code has, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Set
from dataclasses import dataclass, replace

import pytest
from django.utils.module_loading import import_string

from . import names_in_code as code
from .pages import ROOT, Page, page, pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A kind of name, and the one place that lists all of its kind."""

    page: str
    written: Callable[[Page], Set[str]]
    existing: Callable[[], Set[str]]


def column(head: str) -> Callable[[Page], Set[str]]:
    return lambda text: text.column(head)


def directive(name: str) -> Callable[[Page], Set[str]]:
    return lambda text: text.directives(name)


def sentence(beginning: str) -> Callable[[Page], Set[str]]:
    return lambda text: text.sentence(beginning)


def described(text: Page) -> Set[str]:
    """Return what autodoc shows, without what is imported from further inside."""
    found = [text.directives(name) for name in ("autofunction", "autoclass", "py:data")]
    return {name for names in found for name in names if re.fullmatch(r"django_eventbus(\.testing)?\.\w+", name)}


VOCABULARIES = {
    "checks": Vocabulary(page="docs/reference/checks.md", written=column("Id"), existing=code.check_ids),
    "commands": Vocabulary(
        page="docs/reference/commands.md", written=directive("from-command"), existing=code.commands
    ),
    "exit statuses": Vocabulary(
        page="docs/reference/commands.md", written=column("Exit status"), existing=code.exit_statuses
    ),
    "models": Vocabulary(page="docs/reference/tables.md", written=directive("from-model"), existing=code.model_names),
    "reasons of dead letters": Vocabulary(
        page="docs/reference/tables.md", written=column("`reason`"), existing=code.dead_letter_reasons
    ),
    "permissions": Vocabulary(
        page="docs/reference/tables.md",
        written=lambda text: text.column("Permission") - {"eventbus.view_..."},
        existing=code.permissions,
    ),
    "sections of EVENTBUS": Vocabulary(
        page="docs/reference/settings.md", written=directive("from-settings"), existing=code.sections
    ),
    "attributes of an AppConfig": Vocabulary(
        page="docs/reference/settings.md", written=column("Attribute"), existing=code.app_attributes
    ),
    "signals' module": Vocabulary(
        page="docs/reference/signals.md",
        written=directive("from-signals"),
        existing=lambda: {"django_eventbus.signals"},
    ),
    "fields of log lines": Vocabulary(
        page="docs/reference/signals.md",
        written=sentence("Lines about a message carry these fields in `extra`:"),
        existing=code.log_fields,
    ),
    "spans": Vocabulary(page="docs/reference/telemetry.md", written=column("Span"), existing=code.operations),
    "metrics": Vocabulary(page="docs/reference/telemetry.md", written=column("Metric"), existing=code.metrics),
    "attributes of spans and metrics": Vocabulary(
        page="docs/reference/telemetry.md", written=column("Attribute"), existing=code.attributes
    ),
    "headers": Vocabulary(
        page="docs/reference/wire-format.md",
        written=lambda text: text.column("Header") - {"your own"},
        existing=code.headers,
    ),
    "reasons of refused records": Vocabulary(
        page="docs/reference/wire-format.md", written=column("Word"), existing=code.undecodable_reasons
    ),
    "statuses of sagas": Vocabulary(
        page="docs/reference/sagas.md", written=column("Status"), existing=code.saga_statuses
    ),
    "outcomes of steps": Vocabulary(
        page="docs/reference/sagas.md", written=column("Outcome"), existing=code.saga_outcomes
    ),
    "public names": Vocabulary(page="docs/reference/api.md", written=described, existing=code.public_names),
    "fixtures": Vocabulary(page="docs/reference/api.md", written=column("Fixture"), existing=code.fixtures),
    "tasks": Vocabulary(page="docs/reference/api.md", written=column("Task"), existing=code.tasks),
    "extras": Vocabulary(page="README.md", written=sentence("Extras:"), existing=code.extras),
}
every_kind = pytest.mark.parametrize("kind", VOCABULARIES)


@every_kind
def test_the_reference_names_what_there_is_and_nothing_else(kind: str) -> None:
    vocabulary = VOCABULARIES[kind]

    assert sorted(vocabulary.written(page(vocabulary.page))) == sorted(vocabulary.existing())


@every_kind
def test_a_misspelt_name_in_the_reference_is_found(kind: str) -> None:
    vocabulary = VOCABULARIES[kind]
    right = page(vocabulary.page)
    name = min(vocabulary.written(right))
    wrong = replace(right, text=re.sub(rf"{re.escape(name)}(?=[`\s])", f"{name}9", right.text))

    assert vocabulary.written(wrong) == vocabulary.existing() - {name} | {f"{name}9"}


@pytest.mark.parametrize("command", sorted(code.commands()))
def test_a_command_ends_with_no_status_but_those_that_it_names(command: str) -> None:
    from django.core.management import load_command_class

    named = set(re.findall(r"\b(\d)\b", (load_command_class("django_eventbus", command).__doc__ or "")))

    assert code.statuses_in_source(command) <= named


def test_what_a_class_on_the_page_can_do_is_on_the_page() -> None:
    listed = re.findall(r"autoclass:: (\S+)\n +:members:((?: *[\w, ]+\n)+)", page("docs/reference/api.md").text)
    missing = {
        name: code.public_members(import_string(name)) - set(re.findall(r"\w+", members)) for name, members in listed
    }

    assert listed
    assert {name: members for name, members in missing.items() if members} == {}


def test_what_pages_and_examples_import_from_inside_is_in_the_reference() -> None:
    sources = [block for one in pages() for block in one.blocks("python")]
    sources += [path.read_text() for path in sorted((ROOT / "example_project").rglob("*.py"))]
    imports = [node for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    from_inside = {
        f"{node.module}.{name.name}"
        for node in imports
        if (node.module or "").startswith("django_eventbus.")
        for name in node.names
    }
    written = " ".join(one.text for one in pages() if one.name.startswith("docs/reference/"))
    shown = {*re.findall(r"\w+", written), *code.signal_names()}

    assert "django_eventbus.testing.drain" in from_inside
    assert {path for path in from_inside if path.rpartition(".")[2] not in shown} == set()
