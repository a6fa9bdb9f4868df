"""How do the tests that pages name fare when pytest collects them? A plugin that writes each one's marks as JSON."""

from __future__ import annotations

import json
import sys

import pytest

NEVER = frozenset({"skip", "xfail"})


def pytest_itemcollected(item: pytest.Item) -> None:
    # Before the suite's own hooks add marks for what is missing on this machine: only what the test itself says counts.
    marks = list(item.iter_markers())
    always = [mark for mark in marks if mark.name == "skipif" and mark.args[:1] == (True,)]
    runs_nowhere = bool(always or NEVER & {mark.name for mark in marks})
    name = f"{item.path}::{item.name.partition('[')[0]}"
    sys.stdout.write(f"{json.dumps({'id': name, 'runs': not runs_nowhere})}\n")
