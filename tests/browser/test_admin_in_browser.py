"""An operator sees what failed and why, mends it, and replays it by a click, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from django_eventbus.models import (
    DeadLetter,
    InboxMessage,
    OperatorAction,
    OutboxMessage,
    RecurringEvent,
    RetryMessage,
    SagaState,
    ScheduledMessage,
)
from django_eventbus.models.dead_letter import DeadLetterStatus
from django_eventbus.testing import drain
from tests.shop.models import Invoice

from .conftest import Operator
from .fulfilment import fill_sagas
from .policy import POLICY
from .rows import fill_every_table, fill_recurring, fill_schedule
from .shop import place_order, tax_rates

pytestmark = pytest.mark.browser
LogIn = Callable[..., Operator]

LISTS = (
    *("deadletter", "retrymessage", "outboxlane", "outboxmessage", "sentmessage", "inboxmessage"),
    *("scheduledmessage", "recurringevent", "sagastate", "partitionepoch", "operatoraction", "controlflag"),
)
MODES = ("light", "dark")


def fail_orders(count: int = 1) -> list[DeadLetter]:
    """Place orders that cannot be invoiced, and let everything happen."""
    for number in range(count):
        place_order("Atlantis", customer=f"customer {number}")
    drain()
    return list(DeadLetter.objects.order_by("id"))


def test_the_list_says_what_failed_why_and_how_long_ago(log_in: LogIn) -> None:
    fail_orders()
    operator = log_in()

    operator.open("deadletter/")

    row = operator.page.inner_text("#result_list tbody tr")
    for fact in ("dead", "shop.orders.order-placed", "billing.issue_invoice", "TaxRateMissing", "for Atlantis"):
        assert fact in row
    assert operator.page.locator("#result_list tbody time").count() == 1
    assert operator.page.locator("#result_list .eventbus-state.eventbus-dead").is_visible()


def test_a_click_on_a_filter_narrows_the_list(log_in: LogIn) -> None:
    dead, gone = fail_orders(2)
    DeadLetter.objects.filter(pk=gone.pk).update(status=DeadLetterStatus.DISCARDED)
    operator = log_in()
    operator.open("deadletter/")

    operator.click("#changelist-filter >> text=discarded")

    assert operator.page.locator("#result_list tbody tr").count() == 1
    assert operator.page.inner_text("#result_list tbody th") == str(gone.pk)
    assert dead.pk != gone.pk


def test_the_page_tells_the_failure_and_the_next_step_without_scrolling(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()

    operator.open(f"deadletter/{letter.pk}/change/")

    summary = operator.page.locator(".eventbus-summary")
    box = summary.bounding_box()
    assert box["y"] + box["height"] < 500
    for fact in (
        "billing.issue_invoice failed once on shop.orders.order-placed",
        "TaxRateMissing",
        "Next step",
        "replay",
    ):
        assert fact in summary.inner_text()
    assert "raise TaxRateMissing" in operator.page.inner_text(".field-trace pre")
    shown = json.loads(operator.page.inner_text(".field-content pre"))
    assert (shown["country"], shown["customer"]) == ("Atlantis", "customer 0")


def test_the_download_has_the_exact_bytes(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()
    operator.open(f"deadletter/{letter.pk}/change/")

    with operator.page.expect_download() as started:
        operator.page.click("text=Download the exact")

    assert Path(started.value.path()).read_bytes() == bytes(letter.payload or b"")


def test_a_replay_by_click_runs_the_handler_once_after_the_fix(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()
    tax_rates["Atlantis"] = 10

    operator.open(f"deadletter/{letter.pk}/change/")
    operator.page.fill("#reason", "tax rate entered")
    operator.click("input[type=submit][value=Replay]")
    assert operator.page.inner_text(".messagelist") == "1 dead letter on the way again."
    assert operator.page.inner_text(".eventbus-summary .eventbus-state") == "replaying"
    assert not operator.page.locator(".eventbus-verdict").count()
    drain()
    operator.page.reload()

    assert operator.page.inner_text(".eventbus-summary .eventbus-state") == "replayed"
    assert operator.sees("tax rate entered")
    assert Invoice.objects.count() == 1
    assert [row.key for row in InboxMessage.objects.filter(handler=letter.handler)] == [letter.inbox_key]
    assert not RetryMessage.objects.exists()


def test_a_replay_without_a_fix_comes_back_as_the_same_dead_letter(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()

    operator.open(f"deadletter/{letter.pk}/change/")
    operator.click("input[type=submit][value=Replay]")
    drain()
    operator.page.reload()

    assert operator.page.inner_text(".eventbus-summary .eventbus-state") == "dead"
    assert operator.sees("dead for the 2. time")
    assert DeadLetter.objects.count() == 1


def test_a_bulk_replay_asks_first_and_then_runs_all_of_them(log_in: LogIn) -> None:
    fail_orders(3)
    operator = log_in("nina", "view_deadletter", "replay_deadletter")
    tax_rates["Atlantis"] = 10

    operator.open("deadletter/")
    operator.page.check("#action-toggle")
    operator.page.select_option("select[name=action]", "replay_selected")
    operator.click("button[name=index]")
    assert operator.page.inner_text("#content h1") == "Replay 3 dead letters?"
    assert not OperatorAction.objects.exists()
    operator.page.fill("#reason", "tax rate entered")
    operator.click("input[type=submit][value=Replay]")
    drain()
    operator.page.reload()

    assert operator.page.locator("#result_list .eventbus-replayed").count() == 3
    assert Invoice.objects.count() == 3
    assert set(OperatorAction.objects.values_list("actor", "reason")) == {("nina", "tax rate entered")}


def test_what_recurs_is_paused_and_run_now_by_clicks(log_in: LogIn) -> None:
    fill_recurring()
    row = RecurringEvent.objects.get(name="reports.end_day")
    operator = log_in("nina", "view_recurringevent", "control_eventbus")

    operator.open("recurringevent/")
    operator.click("#result_list >> text=reports.end_day")
    operator.click("input[type=submit][value^='Run now']")
    operator.page.fill("#reason", "the database is back")
    operator.click("input[type=submit][value='Run now']")
    assert operator.sees("1 recurring event happened once more.")
    operator.open(f"recurringevent/{row.pk}/change/")
    operator.click("input[type=submit][value^=Pause]")
    operator.click("input[type=submit][value=Pause]")
    operator.open(f"recurringevent/{row.pk}/change/")

    row.refresh_from_db()
    assert row.is_paused
    assert OutboxMessage.objects.filter(event_name="shop.orders.order-placed").count() == 1
    for fact in ("paused", "the database is back", "nina"):
        assert operator.sees(fact)
    assert operator.complaints == []


def test_what_waits_is_cancelled_and_delivered_now_by_clicks(log_in: LogIn) -> None:
    fill_schedule()
    operator = log_in("nina", "view_scheduledmessage", "control_eventbus")

    operator.open("scheduledmessage/")
    assert operator.page.locator("#result_list tbody tr").count() == 6
    operator.click("text=within an hour")
    assert operator.page.locator("#result_list tbody tr").count() == 2
    operator.page.check("#action-toggle")
    operator.page.select_option("select[name=action]", "cancel_selected")
    operator.click("button[name=index]")
    assert operator.sees("Cancel 2 scheduled messages?")
    operator.page.fill("#reason", "the shop has closed")
    operator.click("input[type=submit][value=Cancel]")
    assert operator.sees("2 scheduled messages cancelled.")
    operator.open("scheduledmessage/")
    operator.click("#result_list tbody tr:first-child th a")
    operator.click("input[type=submit][value^='Deliver now']")
    operator.click("input[type=submit][value='Deliver now']")
    assert operator.sees("1 scheduled message on the way.")

    assert ScheduledMessage.objects.filter(due_at__lte=timezone.now()).count() == 1
    assert ScheduledMessage.objects.count() == 4
    assert operator.complaints == []


def test_a_saga_is_looked_at_and_its_timeout_fired_by_clicks(log_in: LogIn) -> None:
    fill_sagas()
    operator = log_in("nina", "view_sagastate", "view_payload", "control_eventbus")

    operator.open("sagastate/")
    operator.page.fill("#searchbar", "2026-0047")
    operator.click("#changelist-search [type=submit]")
    assert operator.page.locator("#result_list tbody tr").count() == 1
    operator.click("#result_list tbody th a")
    assert operator.page.inner_text(".eventbus-current strong") == "reserved"
    for fact in ("wait_for_payment()", "B 12", "timeout payment", "Would be undone by"):
        assert operator.sees(fact), fact
    operator.page.fill("#reason-1", "the customer called")
    operator.click("input[type=submit][value='Fire now']")
    assert operator.sees("Timeout 'payment' comes now.")
    drain()
    operator.page.reload()

    assert operator.sees("remind()")
    assert operator.sees("the customer called")
    assert operator.complaints == []


def test_a_saga_is_compensated_by_clicks(log_in: LogIn) -> None:
    fill_sagas()
    row = SagaState.objects.get(key="2026-0047")
    operator = log_in("nina", "view_sagastate", "control_eventbus")

    operator.open(f"sagastate/{row.pk}/change/")
    operator.click("input[type=submit][value^=Compensate]")
    assert operator.page.inner_text("#content h1") == "Compensate 1 saga?"
    operator.page.fill("#reason", "sold twice")
    operator.click("input[type=submit][value=Compensate]")

    assert operator.sees("1 saga compensated.")
    row.refresh_from_db()
    assert row.status == "compensated"
    assert operator.complaints == []


def test_a_discard_asks_before_it_gives_up(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()

    operator.open(f"deadletter/{letter.pk}/change/")
    operator.click("input[type=submit][value^=Discard]")
    assert operator.page.inner_text("#content h1") == "Discard 1 dead letter?"
    assert DeadLetter.objects.get().status == DeadLetterStatus.DEAD
    operator.click("input[type=submit][value=Discard]")

    assert operator.page.inner_text(".messagelist") == "1 dead letter discarded."
    assert DeadLetter.objects.get().status == DeadLetterStatus.DISCARDED


def test_who_may_only_look_is_offered_nothing_else(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in("vera", "view_deadletter")

    operator.open("deadletter/")
    assert not operator.page.locator("select[name=action]").count()
    operator.open(f"deadletter/{letter.pk}/change/")

    assert not operator.page.locator(".eventbus-verdict").count()
    assert not operator.sees('Atlantis"')
    assert operator.sees("Payload and headers are hidden")


def test_dead_letter_inbox_and_partition_lead_to_each_other(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()

    operator.open(f"deadletter/{letter.pk}/change/")
    operator.click("text=taken into the inbox")
    assert f"/inboxmessage/{letter.inbox_key}/" in operator.page.url
    operator.click(".field-partition a")
    assert "/partitionepoch/" in operator.page.url
    operator.page.go_back()
    operator.click(".field-dead_letter a")

    assert f"/deadletter/{letter.pk}/" in operator.page.url


def test_the_inbox_is_searched_by_the_id_of_a_message(log_in: LogIn) -> None:
    (letter,) = fail_orders()
    operator = log_in()

    operator.open("inboxmessage/")
    operator.page.fill("#searchbar", letter.message_id)
    operator.click("#changelist-search [type=submit]")

    rows = operator.page.inner_text("#result_list tbody")
    assert operator.page.locator("#result_list tbody tr").count() == 2
    assert "billing.issue_invoice" in rows
    assert "shipping.pack_parcel" in rows


@pytest.mark.parametrize("mode", MODES)
def test_every_page_obeys_a_strict_policy_in_light_and_dark_mode(log_in: LogIn, mode: str) -> None:
    fill_every_table()
    operator = log_in(color_scheme=mode)

    for name in LISTS:
        response = operator.open(f"{name}/")
        assert response.headers["content-security-policy"] == POLICY
        operator.click("#result_list tbody tr:first-child th a")
        assert operator.page.locator("#content h1").inner_text().startswith("View ")
    operator.page.goto("/admin/eventbus/")

    assert operator.complaints == []
    assert readable(operator)


def readable(operator: Operator) -> bool:
    """Say whether badges are darker than their ground in light mode, and lighter in dark mode."""
    operator.open("deadletter/")
    ink, ground = operator.page.evaluate(
        """() => {
            const style = getComputedStyle(document.querySelector(".eventbus-dead"));
            const light = (colour) => colour.match(/[0-9]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
            return [light(style.color), light(style.backgroundColor)];
        }"""
    )
    return bool(abs(ink - ground) > 300)


def test_the_policy_of_these_tests_bites(log_in: LogIn) -> None:
    operator = log_in()

    operator.open("deadletter/")
    operator.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")

    assert any("Content Security Policy" in complaint for complaint in operator.complaints)
    operator.complaints.clear()


def test_empty_lists_say_what_that_means(log_in: LogIn) -> None:
    operator = log_in()

    for name in LISTS[:-1]:
        operator.open(f"{name}/")
        assert len(operator.page.inner_text(".eventbus-empty")) > 10


@pytest.mark.parametrize("name", ["deadletter", "retrymessage", "partitionepoch"])
def test_pages_fit_a_telephone(log_in: LogIn, name: str) -> None:
    fill_every_table()
    operator = log_in(viewport={"width": 390, "height": 844})

    operator.open(f"{name}/")
    assert widest(operator) <= 390
    operator.click("#result_list tbody tr:first-child th a")

    assert widest(operator) <= 390


def widest(operator: Operator) -> float:
    """Return how far to the right our own parts of a page reach; tables scroll inside theirs."""
    parts = ".eventbus-about, .eventbus-summary, .eventbus-verdict input, .eventbus-text, .eventbus-scroll"
    boxes = [part.bounding_box() for part in operator.page.locator(parts).all()]
    return max((box["x"] + box["width"] for box in boxes if box is not None), default=0.0)
