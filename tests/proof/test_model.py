"""The model holds in every state of its small worlds, names code that exists, and finds bugs that are planted in it."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.proof.model.bugs import BUGS
from tests.proof.model.exploring import PROTOCOL, Explorer
from tests.proof.model.worlds import LARGE, SMALL

pytestmark = pytest.mark.once


@pytest.mark.parametrize("world", SMALL)
def test_no_order_of_steps_breaks_a_guarantee(world: str) -> None:
    found = Explorer(SMALL[world]).run()

    assert not found.violation, [str(label) for label, _ in found.way]
    assert found.goals


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("world", LARGE)
def test_no_order_of_steps_breaks_a_guarantee_in_a_larger_world(world: str) -> None:
    found = Explorer(LARGE[world]).run()

    assert not found.violation, [str(label) for label, _ in found.way]


def test_every_step_happens_in_some_world() -> None:
    taken = {name for bounds in SMALL.values() for name in Explorer(bounds).run().taken}

    assert taken == PROTOCOL.keys()


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_breaks_a_guarantee(bug: str) -> None:
    protocol, world, guarantee = BUGS[bug]

    found = Explorer(SMALL[world], protocol()).run()

    assert found.violation.startswith(guarantee), found.violation


@pytest.mark.parametrize("path", sorted({path for one in PROTOCOL.values() for path in one.stands_for}))
def test_the_code_that_a_step_stands_for_exists(path: str) -> None:
    parts = path.split(".")
    places = range(len(parts) - 1, 0, -1)
    module = next(place for place in places if _is_module(".".join(parts[:place])))
    found: object = import_module(".".join(parts[:module]))
    for name in parts[module:]:
        found = getattr(found, name)

    assert callable(found)


def _is_module(path: str) -> bool:
    try:
        import_module(path)
    except ModuleNotFoundError:
        return False
    return True
