"""The documentation names what is there: checks, commands, models, modules, public names, settings and tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

import django_eventbus
from django_eventbus import exceptions, models

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "django_eventbus"
CHECK_ID = re.compile(r"""["'](?:eventbus\.)?([EW]\d{3})["']""")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def page(path: str) -> str:
    return (DOCS / path).read_text()


def check_ids() -> set[str]:
    """Return the ids that the code gives to checks."""
    return {found for path in PACKAGE.rglob("*.py") for found in CHECK_ID.findall(path.read_text())}


def test_every_check_is_documented_and_every_documented_check_is_there() -> None:
    documented = re.findall(r"^\| `eventbus\.([EW]\d{3})` \|", page("reference/checks.md"), re.MULTILINE)

    assert sorted(documented) == sorted(check_ids())


def test_every_command_is_on_the_page() -> None:
    commands = {name for name, app in get_commands().items() if app == "django_eventbus"}

    assert set(re.findall(r"\{from-command\} (\w+)", page("reference/commands.md"))) == commands


def test_every_model_is_on_the_page() -> None:
    assert set(re.findall(r"\{from-model\} (\w+)", page("reference/tables.md"))) == set(models.__all__)


def test_every_room_is_on_the_page() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} - {"migrations"}

    assert set(re.findall(r"\{from-modules\} (\S+)", page("explanation/architecture.md"))) == {".", *rooms}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_opens_with_its_sentence(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree) or (path.name == "__init__.py" and not tree.body)


def test_every_public_name_is_on_a_page() -> None:
    api = page("reference/api.md")
    described = set(re.findall(r"(?:autofunction|autoclass|py:data):: django_eventbus\.(\w+)$", api, re.MULTILINE))
    errors = {name for name in django_eventbus.__all__ if hasattr(exceptions, name)}

    assert described | errors == set(django_eventbus.__all__)


def test_every_public_name_of_testing_is_on_a_page() -> None:
    from django_eventbus import testing

    described = set(re.findall(r":: django_eventbus\.testing\.(\w+)$", page("reference/api.md"), re.MULTILINE))

    assert described == set(testing.__all__)


def test_every_setting_that_the_prose_names_exists() -> None:
    from django_eventbus.conf.loading import SECTIONS, fields_of

    sections = "|".join(SECTIONS)
    for path in pages():
        for section, key in re.findall(rf"`({sections})\[\"(\w+)\"\]", path.read_text()):
            assert key in fields_of(SECTIONS[section]), f"{path.name}: {section}[{key!r}]"


def named_tests() -> Iterator[tuple[str, str]]:
    for path in pages():
        yield from NAMED_TEST.findall(path.read_text())


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def test_guarantees_name_their_tests() -> None:
    sections = page("explanation/delivery-guarantees.md").split("\n## ")[1:]

    assert [section[:2] for section in sections] == [f"G{number}" for number in range(1, 9)]
    assert all(NAMED_TEST.search(section) for section in sections)


@pytest.mark.parametrize(("path", "name"), sorted(set(named_tests())))
def test_a_named_test_exists(path: str, name: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, functions)}

    assert name in defined


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / "README.md").read_text()))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    path, _, anchor = target.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)

    assert not anchor or anchor in map(slug, headings)


def test_every_metric_is_on_the_page() -> None:
    from django_eventbus.telemetry.metrics import _COUNTERS

    assert set(re.findall(r"`eventbus\.messages\.(\w+)`", page("reference/telemetry.md"))) == set(_COUNTERS)
