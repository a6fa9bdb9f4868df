"""Real processes follow traces of the model, and every state of theirs is the model's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]


def play(*arguments: str) -> list[dict[str, Any]]:
    """Play in a process without threads, from which a fork is as good as a new one."""
    command = [sys.executable, "-m", "tests.proof.differential", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_code_and_model_agree_after_every_step(postgres: str) -> None:
    worlds = play("--walks", "2")

    assert [wrong for world in worlds for wrong in world["disagreements"]] == []
    assert sum(world["steps"] for world in worlds) > 200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_code_and_model_agree_on_every_kind_of_step(postgres: str) -> None:
    worlds = play("--walks", "60", "--every-step")

    assert [wrong for world in worlds for wrong in world["disagreements"]] == []


@pytest.mark.parametrize(("bug", "world"), [("nobody_wakes_the_next", "retrying"), ("no_inbox", "repeating")])
def test_code_with_a_planted_bug_does_not_agree(postgres: str, bug: str, world: str) -> None:
    (found,) = play("--walks", "4", "--world", world, "--bug", bug)

    assert found["disagreements"]
