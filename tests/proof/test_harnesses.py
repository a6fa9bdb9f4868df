"""The long form of the proof: every harness is there, gets its share of the time, and is heard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof import __main__ as front
from tests.proof.harnesses import HARNESSES, Harness, shares_of

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("harness", HARNESSES.values(), ids=lambda harness: str(harness.name))
def test_a_harness_knows_the_options_that_it_is_given(harness: Harness) -> None:
    options = {*harness.arguments(minutes=None, seed=1)[2:], *harness.arguments(minutes=2.0, seed=1)[2:]}

    command = [sys.executable, "-m", harness.command[0], "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert [option for option in options if option.startswith("--") and option not in done.stdout] == []


def test_the_budget_is_divided_by_shares_once_those_that_take_their_time_have_theirs() -> None:
    shares = shares_of(list(HARNESSES), minutes=200)

    assert sum(shares.values()) == pytest.approx(200)
    assert shares["model"] == HARNESSES["model"].takes


def test_whoever_is_alone_gets_all_of_it() -> None:
    assert shares_of(["soak"], minutes=7) == {"soak": 7}


@pytest.mark.parametrize(("status", "verdict"), [(0, "holds"), (1, "FOUND SOMETHING"), (-9, "DID NOT END WELL (-9)")])
def test_what_a_harness_finds_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    status: int,
    verdict: str,
) -> None:
    (tmp_path / "harness.py").write_text(f"import os; print('{{\"seen\": 3}}', flush=True); {ending(status)}")
    harness = Harness(name="model", command=("harness",), takes_seed=False)
    monkeypatch.setattr(front, "HARNESSES", {"model": harness})
    monkeypatch.setattr(front, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["proof", "model", "--json", str(tmp_path / "told.json")])

    found = front.main()

    assert found == (1 if status else 0)
    assert verdict in capsys.readouterr().out
    (told,) = json.loads((tmp_path / "told.json").read_text())["harnesses"]
    assert (told["status"], told["told"]) == (status, {"seen": 3})


def ending(status: int) -> str:
    return f"os._exit({status})" if status >= 0 else f"os.kill(os.getpid(), {-status})"
