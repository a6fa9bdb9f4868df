"""`replay_dead_letters` on the command line: filters, limits, counts, exit codes."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_eventbus.delivery.registry import handler, handlers
from django_eventbus.models import DeadLetter, OperatorAction, RetryMessage

from .shop import OrderPlaced
from .test_replay import dead, died

pytestmark = pytest.mark.django_db


def replay(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("replay_dead_letters", "--json", *arguments, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def replayed() -> set[str]:
    return set(DeadLetter.objects.filter(status="replaying").values_list("message_id", flat=True))


@pytest.fixture
def graveyard() -> None:
    dead(
        died("m-1"),
        died("m-2", error=KeyError("k")),
        died("m-3", handler="shop.ship"),
        died("m-4", handler="", envelope=None),
    )
    old = timezone.now() - timedelta(days=3)
    DeadLetter.objects.filter(message_id="m-1").update(failed_at=old, exception_type="shop.errors.Refused")


@pytest.mark.usefixtures("graveyard")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--all"], {"m-1", "m-2", "m-3", ""}),
        (["--handler", "shop.bill"], {"m-1", "m-2"}),
        (["--event", "shop.orders.order-placed"], {"m-1", "m-2", "m-3"}),
        (["--exception", "KeyError"], {"m-2"}),
        (["--exception", "Refused"], {"m-1"}),
        (["--since", "2d"], {"m-2", "m-3", ""}),
        (["--since", f"{timezone.now():%Y-%m-%d}", "--handler", "shop.bill"], {"m-2"}),
        (["--limit", "2"], {"m-1", "m-2"}),
    ],
)
def test_only_the_selected_are_replayed(arguments: list[str], expected: set[str]) -> None:
    answer = replay(*arguments)

    assert replayed() == expected
    assert answer == {"dry_run": False, "replayed": len(expected), "refused": {}}


@pytest.mark.usefixtures("graveyard")
@pytest.mark.parametrize("arguments", [[], ["--reason", "why not"], ["--all", "--handler", "shop.bill"]])
def test_everything_is_replayed_only_where_all_is_asked_for(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="--all") as caught:
        replay(*arguments)

    assert caught.value.returncode == 2
    assert replayed() == set()
    assert replay("--dry-run")["total"] == 4  # counting does no harm


@pytest.mark.usefixtures("graveyard")
def test_a_handler_that_nobody_knows_is_told_with_the_likely_one() -> None:
    for more in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match=r"'shop\.bil' is no handler.*Did you mean 'shop\.bill'\?") as caught:
            replay("--handler", "shop.bil", *more)
        assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="'nobody' is no handler"):
        replay("--handler", "nobody")


def test_a_handler_without_dead_letters_is_no_mistake() -> None:
    with handlers.isolated():
        handler(OrderPlaced, name="shop.ship", aliases=("shop.pack",))(print)

        assert replay("--handler", "shop.ship")["replayed"] == replay("--handler", "shop.pack")["replayed"] == 0


@pytest.mark.usefixtures("graveyard")
def test_a_dry_run_counts_by_cause_and_touches_nothing() -> None:
    answer = replay("--dry-run", "--handler", "shop.bill")

    causes = {(cause["handler"], cause["exception"]): cause["count"] for cause in answer["causes"]}
    assert answer["total"] == 2
    assert causes == {("shop.bill", "KeyError"): 1, ("shop.bill", "shop.errors.Refused"): 1}
    assert not RetryMessage.objects.exists()


@pytest.mark.usefixtures("graveyard")
def test_a_dry_run_keeps_to_the_limit() -> None:
    assert replay("--dry-run", "--limit", "3")["total"] == 3


@pytest.mark.usefixtures("graveyard")
def test_one_command_is_one_act_by_a_named_user() -> None:
    replay("--all", "--reason", "the gateway is back")

    actions = OperatorAction.objects.all()
    assert len({action.command_id for action in actions}) == 1
    assert {action.reason for action in actions} == {"the gateway is back"}
    assert all(action.actor.startswith("command line: ") for action in actions)


@pytest.mark.usefixtures("graveyard")
def test_people_read_a_sentence() -> None:
    out = io.StringIO()

    call_command("replay_dead_letters", "--limit", "1", stdout=out)

    assert out.getvalue() == "replayed 1, refused 0\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "yesterday"),
        (["--since", "2026-02-31"], "2026-02-31"),
        (["--limit", "0"], "above 0"),
        (["--bus", "nope"], "nope"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        replay(*arguments)


def test_letters_of_another_bus_are_left_alone() -> None:
    dead()
    DeadLetter.objects.update(bus="other")

    assert replay("--all")["replayed"] == 0
