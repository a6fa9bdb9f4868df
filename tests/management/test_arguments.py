"""A wrong number is said in the same words by every command, and ends it as wrong usage."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("consume_events", "--processes"), ("consume_events", "--concurrency"), ("consume_events", "--max-messages")),
        ("replay_dead_letters", "--limit"),
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_whole_numbers_are_above_zero(command: str, option: str, value: str) -> None:
    with pytest.raises(CommandError, match=f"{option}: '{value}' is not a number above 0"):
        call_command(command, f"{option}={value}")


@pytest.mark.parametrize("command", ["consume_events", "drain_outbox"])
@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_seconds_are_positive(command: str, value: str) -> None:
    with pytest.raises(CommandError, match=f"--timeout: '{value}' is no positive number of seconds"):
        call_command(command, f"--timeout={value}")
