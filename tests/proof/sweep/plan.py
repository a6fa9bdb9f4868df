"""What becomes of each message in a world without crashes? Its key says it, so that a judge can foretell it.

`flaky`: the second fails once. `deadly`: the second fails for ever, and the third goes on. `held`: the same for a
handler that holds the key, so that the third waits. `echo`: handling it publishes another event.
"""

from __future__ import annotations

from tests.proof.sweep.settings import folder

ORDERED, SIBLING, HOLDING, ECHO = "sweep.ordered", "sweep.sibling", "sweep.holding", "sweep.echo"
LISTED, AWAITED, HANDED = "sweep.listed", "sweep.awaited", "sweep.handed"
TALLY, JOURNEY = "sweep.tally", "sweep.journey"
HANDLERS = {
    "sweep.stepped": (ORDERED, SIBLING, HOLDING),
    "sweep.echoed": (ECHO,),
    "sweep.listed": (LISTED,),
    "sweep.awaited": (AWAITED,),
    "sweep.handed": (HANDED,),
    "sweep.tallied": (TALLY,),
    "sweep.opened": (JOURNEY,),
    "sweep.advanced": (JOURNEY,),
}
FLAKY = (ORDERED, LISTED, AWAITED, HANDED, TALLY, JOURNEY)
UNORDERED = (HANDED,)
TROUBLED = 2  # number of the message that is in trouble
ATTEMPTS = 3


class Planned(Exception):
    """A failure of the plan."""


def fails(handler: str, key: str, number: int, *, attempt: int) -> bool:
    """Say whether this attempt has to fail."""
    if number != TROUBLED:
        return False
    if key.startswith("flaky"):
        return handler in FLAKY and attempt == 1
    return is_doomed(handler, key, number) and not (folder() / "healed").exists()


def is_doomed(handler: str, key: str, number: int) -> bool:
    """Say whether a message fails until somebody mends what is wrong."""
    doomed = {"deadly": (ORDERED, LISTED, AWAITED, HANDED, TALLY), "held": (HOLDING,)}
    return number == TROUBLED and handler in doomed.get(key, ())


def is_behind(handler: str, key: str, number: int) -> bool:
    """Say whether a message waits behind a doomed one."""
    return key == "held" and handler == HOLDING and number > TROUBLED
