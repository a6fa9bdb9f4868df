"""Real processes follow traces of the model, and every state of theirs is the model's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.services, pytest.mark.once]

ROOT = Path(__file__).resolve().parents[2]


def play(*arguments: str) -> list[dict[str, Any]]:
    """Play in a process without threads, from which a fork is as good as a new one."""
    command = [sys.executable, "-m", "tests.proof.differential", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_code_and_model_agree_after_every_step(postgres: str) -> None:
    worlds = play("--walks", "2")

    assert [wrong for world in worlds for wrong in world["disagreements"]] == []
    assert sum(world["steps"] for world in worlds) > 200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_code_and_model_agree_on_every_kind_of_step(postgres: str) -> None:
    worlds = play("--walks", "60", "--every-step")

    assert [wrong for world in worlds for wrong in world["disagreements"]] == []


@pytest.mark.parametrize(
    ("bug", "world", "seed"),
    [("nobody_wakes_the_next", "retrying", "4"), ("no_inbox", "repeating", "0")],  # their walks come past the bug
)
def test_code_with_a_planted_bug_does_not_agree(postgres: str, bug: str, world: str, seed: str) -> None:
    (found,) = play("--walks", "1", "--world", world, "--bug", bug, "--seed", seed)

    assert found["disagreements"]
