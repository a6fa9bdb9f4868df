"""What happens before, during and after a fault, and what is measured then?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.proof.chaos.results import Result
from tests.proof.chaos.scene import Fault, From, Scene, say
from tests.proof.load.rates import ENOUGH, WINDOW, backlog_gone, most_waiting, rate_back

RECOVERY = 90.0  # seconds after which a load that has not recovered is given up
LOOK = 0.25
SLACK = 0.5  # seconds of the rate that may wait beyond what waits in quiet times
TRIES = 3  # to reach the rate of before; a machine may have other work for a moment
LATE = 1.0  # seconds by which a look at the samples stays behind the clock, so that they are there


@dataclass(kw_only=True)
class Marks:
    """Moments on the clock of the samples."""

    began: float = 0.0  # the phase before
    struck: float = 0.0
    over: float = 0.0


def run_phases(scene: Scene, fault: Fault, *, seconds: float) -> Result:
    """Let the load run, harm it, wait until it has recovered, let it run, finish, and judge."""
    result, marks, sampler = Result.of(fault), Marks(), scene.load.sampler
    marks.began = time.monotonic()
    scene.hold(seconds)
    marks.struck = scene.last_blow = time.monotonic()
    say(f"{fault.name}: {fault.what}")
    fault.strike(scene)
    marks.over = time.monotonic()
    say(f"{fault.name}: over after {marks.over - marks.struck:.1f} s")
    result.before = sampler.handled.rate(marks.began, marks.struck)
    result.during = sampler.handled.rate(marks.struck, marks.over)
    result.lasted = marks.over - marks.struck
    calm_at = recover(scene, fault, marks, result)
    now = measure_after(scene, result, since=calm_at, seconds=max(seconds, WINDOW))
    result.most_waiting = round(most_waiting(sampler.committed, sampler.handled, marks.struck, now))
    result.handled_each_second = sampler.handled.per_second(marks.began, now)
    failed = scene.load.finish()
    result.verdict = scene.load.verdict()
    result.ended_alone = scene.load.keeper.ended_alone + failed
    return result


def recover(scene: Scene, fault: Fault, marks: Marks, result: Result) -> float:
    """Wait until the rate is back and nothing waits any more; return since when, or when waiting was given up."""
    since = marks.struck if fault.counts_from is From.BEGIN else marks.over
    sampler = scene.load.sampler
    quiet = most_waiting(sampler.committed, sampler.handled, marks.began, marks.struck)
    normal = quiet + SLACK * scene.load.rate
    while (now := time.monotonic()) < marks.over + RECOVERY:
        seen = now - LATE
        back = rate_back(sampler.handled, struck=scene.last_blow, since=since, until=seen, before=result.before)
        result.rate_back = back
        if back is not None:
            resumed = max(since + back, marks.over)  # what waits before that moment may still grow
            gone = backlog_gone(sampler.committed, sampler.handled, since=resumed, until=seen, normal=normal)
            if gone is not None:
                result.backlog_gone = resumed + gone - marks.over
                return resumed + gone
        time.sleep(LOOK)
    return now - LATE


def measure_after(scene: Scene, result: Result, *, since: float, seconds: float) -> float:
    """Measure the rate after the recovery, again where something else slowed the load down; return until when."""
    sampler, now = scene.load.sampler, since
    for _ in range(TRIES):
        scene.hold(seconds)
        now = time.monotonic() - LATE
        result.after = sampler.handled.rate(since, now)
        result.committed_after = sampler.committed.rate(since, now)
        if result.after >= ENOUGH * result.before:
            break
        since = now
    return now
