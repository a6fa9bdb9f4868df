"""What @recurring accepts, refuses and says, what `check` finds, and what `eventbus_describe` shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_eventbus.checks import check_recurring
from django_eventbus.exceptions import ContractError
from django_eventbus.recurrence import schedule
from django_eventbus.recurrence.registry import recurring, recurrings

from .recurring_events import Ticked


def nightly(at: datetime) -> Ticked:
    return Ticked(name="nightly", at=at)


def test_function_stays_a_plain_callable() -> None:
    declared = recurring("0 6 * * *", timezone="Europe/Berlin", name="tests.nightly")(nightly)

    assert declared is nightly
    found = recurrings.find("tests.nightly")
    assert found is not None
    assert (str(found.schedule), found.missed, found.bus) == ("0 6 * * * Europe/Berlin", "latest", "default")


def test_time_zone_is_that_of_the_project_unless_given(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    recurring("0  6 * * *", name="tests.nightly")(nightly)

    assert [str(each.schedule) for each in recurrings.all()] == ["0 6 * * * Asia/Tokyo"]


def test_function_of_an_app_is_named_after_it() -> None:
    def clean_up() -> None: ...

    clean_up.__module__ = "tests.shop.models"
    recurring(every=60)(clean_up)

    assert [(each.name, str(each.schedule)) for each in recurrings.all()] == [("shop.clean_up", "every 0:01:00")]


def test_second_function_of_a_name_is_refused_and_the_same_one_replaces_itself() -> None:
    recurring(every=60, name="tests.nightly")(nightly)
    recurring(every=90, name="tests.nightly")(nightly)

    with pytest.raises(ContractError, match=r"the name 'tests\.nightly' belongs to tests"):
        recurring(every=60, name="tests.nightly")(lambda: None)
    assert [str(each.schedule) for each in recurrings.all()] == ["every 0:01:30"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, 'give a cron line, such as "0 6 \\* \\* \\*", or every='),
        (("0 6 * * *",), {"every": 60}, "or every="),
        (("0 6 * *",), {}, "has 4 fields"),
        (("0 66 * * *",), {}, "is no cron line: bad hour"),
        (("0 6 * * *",), {"timezone": "Berlin"}, "timezone='Berlin' is not known"),
        ((), {"every": 60, "timezone": "UTC"}, "timezone= belongs to a cron line"),
        ((), {"every": 0.5}, "give one second or more"),
        ((), {"every": 60, "missed": "some"}, "missed='some'; give 'latest', 'skip', 'all'"),
        ((), {"every": 60, "name": "two words"}, "'two words' is no name"),
    ],
)
def test_wrong_times_are_said(arguments: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        recurring(*arguments, **{"name": "tests.nightly", **options})(nightly)


def test_wrong_functions_are_said() -> None:
    async def later() -> None: ...
    def two(at: datetime, more: int) -> None: ...
    def named(*, at: datetime) -> None: ...

    for function, message in ((later, "is a coroutine"), (two, "not callable as"), (named, "not callable as")):
        with pytest.raises(ContractError, match=message):
            recurring(every=60, name="tests.wrong")(function)  # type: ignore[type-var]
    with pytest.raises(ContractError, match="@recurring on nightly has no times"):
        recurring(nightly)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"Give name="):
        recurring(every=60)(lambda: None)


def test_check_names_buses_that_do_not_exist(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}}
    recurring(every=60, name="tests.nightly", bus="adit")(nightly)

    (found,) = check_recurring()

    assert found.id == "eventbus.E092"
    assert "recurs on bus 'adit', which is not in EVENTBUS" in found.msg


def test_missing_library_is_found_by_check_and_not_by_the_import(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EVENTBUS = {"default": {}}
    monkeypatch.setattr(schedule, "CronSim", None)
    recurring("0 6 * * *", name="tests.nightly")(nightly)
    recurring(every=60, name="tests.minute")(nightly)

    (found,) = check_recurring()

    assert (found.id, found.hint) == (
        "eventbus.E090",
        "pip install 'django-eventbus[recurring]', or use every=.",
    )


def test_line_that_could_not_be_read_before_is_found_by_check(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EVENTBUS = {"default": {}}
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "CronSim", None)
        recurring("0 66 * * *", name="tests.nightly")(nightly)

    assert [found.id for found in check_recurring()] == ["eventbus.E091"]


def describe(*arguments: str) -> str:
    out = StringIO()
    call_command("eventbus_describe", *arguments, stdout=out)
    return out.getvalue()


def test_describe_shows_what_recurs_and_when_next(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "audit": {}}
    recurring("0 6 * * *", timezone="UTC", name="tests.nightly", missed="skip")(nightly)
    tomorrow = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0)
    if tomorrow <= datetime.now(UTC):
        tomorrow += timedelta(days=1)

    assert "Recurring events\n  tests.nightly at 0 6 * * * UTC [default]\n" in describe()
    told = describe("nightly")
    assert "missed ones: all are skipped" in told
    assert f"next: {tomorrow:%Y-%m-%d} 06:00:00 UTC, " in told
    assert json.loads(describe("tests.nightly", "--json"))["recurring"][0]["schedule"] == "0 6 * * * UTC"
    assert json.loads(describe("--json", "--bus", "audit"))["recurring"] == []
    with pytest.raises(CommandError, match=r"Did you mean 'tests.nightly'\?"):
        describe("tests.nihtly")
