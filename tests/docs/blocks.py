"""How the code blocks of README and documentation are run: a pytest plugin over Sybil.

Every page is one story, told in a scratch folder of its own:

* a ``python`` block whose first line is a comment with a path (``# shop/events.py``) is written there;
* any other ``python`` block is executed, after the ones before it, on a database that is rolled back;
* each ``$`` line of a ``console`` block is run by bash in the folder; its output is not compared, its status must be 0;
* ``json``, ``toml``, ``yaml``, ``ini`` and ``bash`` blocks are parsed, ``text`` is left alone;
* any other language is an error.

``<!-- skip: next "reason" -->`` before a block skips it.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sybil import Document, Example, Region, Sybil
from sybil.parsers.abstract.lexers import LexerCollection
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
PATH_COMMENT = re.compile(r"# ([\w./-]+\.py)\s*$", re.MULTILINE)
INSTALLED = re.compile(r"^(python3? -m venv|(\S*/)?pip install)\b")  # the suite has done these two already
DIRECTIVE_OPTIONS = re.compile(r"\A(:[\w-]+:.*\n)+\n?")
COMMAND_PATIENCE = 90


def pytest_configure(config: pytest.Config) -> None:
    # As late as this, so that the suite's fixtures win over those of pytest-django that they replace.
    config.pluginmanager.import_plugin("tests.conftest")


def run_python(example: Example) -> None:
    if found := PATH_COMMENT.match(example.parsed):
        path = folder_of(example.document) / found[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example.parsed)
    code = compile("\n" * example.line + example.parsed, example.path, "exec", dont_inherit=True)
    if not found:
        exec(code, example.document.namespace)


def run_console(example: Example) -> None:
    for command in commands_of(example.parsed):
        if INSTALLED.match(command):
            continue
        outcome = subprocess.run(
            ["bash", "-euc", command],
            cwd=folder_of(example.document),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_PATIENCE,
            check=False,
        )
        assert outcome.returncode == 0, f"$ {command}\n{outcome.stdout}{outcome.stderr}"


def commands_of(block: str) -> Iterator[str]:
    """Yield each ``$`` line with the lines that a trailing backslash joins to it."""
    joined = block.replace("\\\n", " ")
    yield from (line[2:].strip() for line in joined.splitlines() if line.startswith("$ "))


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return inherited | {"PATH": path, "PYTHONPATH": str(ROOT)}


def parse_ini(text: str) -> None:
    configparser.RawConfigParser(strict=False, allow_no_value=True).read_string(text)


def parse_bash(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def parsing(parse: Callable[[str], Any]) -> Callable[[Example], None]:
    return lambda example: (parse(example.parsed), None)[1]


EVALUATORS: dict[str, Callable[[Example], None]] = {
    "python": run_python,
    "console": run_console,
    "json": parsing(json.loads),
    "toml": parsing(tomllib.loads),
    "yaml": parsing(lambda text: list(yaml.safe_load_all(text))),
    "ini": parsing(parse_ini),
    "bash": parsing(parse_bash),
}
NOT_CODE = frozenset({"text", "mermaid"})


class BlockParser:
    lexers = LexerCollection([RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))])

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in self.lexers(document):
            language = language_of(region.lexemes["language"])
            if language is None or language in NOT_CODE:
                continue
            if language not in EVALUATORS:
                raise ValueError(f"{document.path}: no rule for a code block in {language or 'no language'!r}")
            region.parsed = DIRECTIVE_OPTIONS.sub("", str(region.lexemes["source"]))
            region.evaluator = EVALUATORS[language]
            yield region


def language_of(info: str) -> str | None:
    """Name the language of a fence; None for a MyST directive that holds no code."""
    info = info.strip()
    if directive := re.match(r"\{([\w-]+)\}\s*(\S*)", info):
        return directive[2] if directive[1] in ("code-block", "code") else None
    return info.split(" ")[0]


def folder_of(document: Document) -> Path:
    if "story" not in document.namespace:
        document.namespace["story"] = tempfile.TemporaryDirectory(prefix="eventbus-docs-")
    return Path(document.namespace["story"].name)


def forget_story(namespace: dict[str, Any]) -> None:
    if "story" in namespace:
        namespace.pop("story").cleanup()


pytest_collect_file = Sybil(
    parsers=[BlockParser(), SkipParser()],
    patterns=["*.md"],
    path=str(ROOT),
    fixtures=["db"],
    teardown=forget_story,
).pytest()
