"""The documentation shows every room, opens every module with its sentence, and names tests that run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, page, pages

PACKAGE = ROOT / "django_eventbus"
GUARANTEES = "docs/explanation/delivery-guarantees.md"
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PARTS_OF_A_GUARANTEE = ("Conditions", "What voids it", "Tests")


def test_every_room_is_on_the_page() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} - {"migrations"}

    assert page("docs/explanation/architecture.md").directives("from-modules") == {".", *rooms}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_opens_with_its_sentence(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree) or (path.name == "__init__.py" and not tree.body)


def test_each_guarantee_says_when_it_holds_what_voids_it_and_which_tests_try_it() -> None:
    sections = page(GUARANTEES).text.split("\n## G")[1:]

    assert [section[:1] for section in sections] == [str(number) for number in range(1, 9)]
    for section in sections:
        assert re.findall(r"^([A-Z][a-z ]+)\n: ", section, re.MULTILINE) == list(PARTS_OF_A_GUARANTEE)
        assert NAMED_TEST.search(section.partition("\nTests\n")[2])


def not_run(named: set[str]) -> set[str]:
    """Return those of the named tests that pytest does not collect, or that say themselves that they never run."""
    files = sorted({path for path, _, _ in (test.partition("::") for test in named) if Path(path).exists()})
    options = ("--collect-only", "-qq", "-s", "-m", "", "-p", "tests.docs.collecting")
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert collected.returncode == 0, "\n".join(line for line in collected.stdout.splitlines() if line[:1] != "{")
    items = [json.loads(line) for line in collected.stdout.splitlines() if line.startswith('{"id"')]
    return named - {item["id"] for item in items if item["runs"]}


@pytest.mark.once
def test_every_test_that_a_page_names_is_collected_and_runs(tmp_path: Path) -> None:
    named = {f"{ROOT / path}::{name}" for one in pages() for path, name in NAMED_TEST.findall(one.text)}
    planted = tmp_path / "test_planted.py"
    planted.write_text("import pytest\n\n@pytest.mark.skip\ndef test_that_never_runs(): ...\n")
    gone, skipped = f"{__file__}::test_that_is_not_there", f"{planted}::test_that_never_runs"

    assert not_run({*named, gone, skipped}) == {gone, skipped}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", page("README.md").text))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    path, _, anchor = target.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)

    assert not anchor or anchor in map(slug, headings)
