"""A soak of seconds finds leaks that are planted; its judge tells growth from what goes up and down."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.history.own_services import new_database
from tests.proof.load.running import Load
from tests.proof.soak.judging import TOLERANCES, line, lowest, trends
from tests.proof.soak.sampling import Sample
from tests.proof.soak.soaking import soak

pytestmark = pytest.mark.once

SECONDS = 10.0
SOME = 0.1  # of the rate: a busy machine is no finding
MEGABYTE = 1024 * 1024


@pytest.mark.services
@pytest.mark.timeout(300)
def test_what_the_handler_leaks_is_found(postgres: str, kafka: str, tmp_path: Path) -> None:
    load = Load(
        url=new_database(postgres),
        broker=kafka,
        topic=f"soak-{uuid.uuid4().hex[:8]}",
        folder=tmp_path,
        rate=80.0,
        seed=5,
        leaks=("thread", "file", "memory", "lock"),
    )
    load.prepare()
    try:
        soaked = soak(load, seconds=SECONDS, every=0.25, say=lambda text: None, share=SOME)
    finally:
        load.stop()

    leaking = {trend.name.split(" ", 1)[1] for trend in soaked.trends if trend.is_leak and "consumer" in trend.name}
    assert leaking >= {"threads", "open files", "memory", "advisory locks"}
    assert soaked.verdict.findings == []  # none of it harms an event


def series(name: str, value: Callable[[int], float], *, hours: float = 1.0) -> list[Sample]:
    """Record one measure each five seconds, and the number of rows in the inbox."""
    count = int(hours * 720)
    return [
        {"at": 5.0 * place, name: value(place), "eventbus_inbox rows": 500.0 * (place + 1)} for place in range(count)
    ]


def leaks(samples: list[Sample]) -> list[str]:
    return [trend.name for trend in trends(samples) if trend.is_leak]


def test_what_goes_up_and_down_leaks_nothing() -> None:
    drawn = random.Random(7)

    assert leaks(series("relay-1 memory", lambda place: 70 * MEGABYTE + drawn.gauss(0, MEGABYTE))) == []
    assert leaks(series("consumer-1 open sockets", lambda place: 8 + drawn.choice([0, 0, 1, 4]))) == []
    assert leaks(series("consumer-1 advisory locks", lambda place: drawn.choice([0, 1, 2, 4]))) == []
    assert leaks(series("eventbus_outbox bytes", lambda place: (place % 48) * 0.3 * MEGABYTE)) == []


def test_what_is_filled_once_in_the_beginning_leaks_nothing() -> None:
    assert leaks(series("consumer-1 memory", lambda place: (60 + min(place, 200) * 0.2) * MEGABYTE)) == []
    assert leaks(series("consumer-1 threads", lambda place: 4 if place < 100 else 12)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consumer-1 threads", lambda place, noise: 12 + place // 200),
        ("consumer-2 open files", lambda place, noise: 5 + place // 150),
        ("consumer-1 connections", lambda place, noise: 4 + noise % 2 + place // 300),
        ("relay-1 advisory locks", lambda place, noise: 64 + place // 200),
        ("relay-1 memory", lambda place, noise: (70 + noise + place / 60) * MEGABYTE),
        ("eventbus_outbox bytes", lambda place, noise: (8 + place * 0.1) * MEGABYTE),
        ("eventbus_retry bytes", lambda place, noise: place * 0.03 * MEGABYTE),
    ],
)
def test_what_grows_slowly_under_its_own_noise_leaks(name: str, value: Callable[[int, int], float]) -> None:
    drawn = random.Random(7)

    assert leaks(series(name, lambda place: value(place, drawn.randrange(4)))) == [name]


def test_the_inbox_may_grow_with_its_rows_and_no_more() -> None:
    name = "eventbus_inbox bytes"

    assert leaks(series(name, lambda place: 500 * (place + 1) * 80)) == []
    assert leaks(series(name, lambda place: 500 * (place + 1) * (80 + place / 20))) == [f"{name} a row"]


def test_a_line_is_laid_through_the_lowest_of_each_stretch() -> None:
    points = [(float(at), 3.0 + 2.0 * at + (5.0 if at % 2 else 0.0)) for at in range(20)]

    low = lowest(points, 10)
    slope, start = line(low)

    assert low == [(float(at), 3.0 + 2.0 * at) for at in range(0, 20, 2)]
    assert (round(slope, 6), round(start, 6)) == (2.0, 3.0)


def test_everything_that_the_soak_promises_has_a_tolerance() -> None:
    for end in (" memory", " threads", " open files", " open sockets", " connections", " advisory locks"):
        assert end in TOLERANCES
    assert {name.split()[0] for name in TOLERANCES if name.startswith("eventbus")} == {
        "eventbus_outbox",
        "eventbus_inbox",
        "eventbus_retry",
    }
