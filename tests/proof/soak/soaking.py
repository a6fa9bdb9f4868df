"""How is a load held up and measured for a time, and what is said at its end?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from tests.proof.load.judging import Verdict
from tests.proof.load.running import WARM, Load
from tests.proof.soak.judging import Trend, trends
from tests.proof.soak.sampling import Sample, take

STEPS = 20  # lines of progress in a run


@dataclass(kw_only=True)
class Soaked:
    """What a soak came to."""

    seconds: float
    rate: float  # handled a second
    verdict: Verdict
    trends: list[Trend]
    ended_alone: list[str]
    samples: list[Sample] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        return [*self.verdict.findings, *self.ended_alone, *(str(trend) for trend in self.trends if trend.is_leak)]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"findings": self.findings}


def soak(load: Load, *, seconds: float, every: float, say: Callable[[str], object], share: float = WARM) -> Soaked:
    """Start a prepared load, measure it for some seconds, end it, and judge."""
    load.start(share=share)
    began = time.monotonic()
    samples: list[Sample] = []
    told = 0
    while (passed := time.monotonic() - began) < seconds:
        try:
            samples.append(take(load.crews, load.database))
        except psycopg.Error as error:
            say(f"no sample: {error}")
        if passed >= told * seconds / STEPS:
            told += 1
            say(progress(load, samples[-1], passed))
        time.sleep(max(0.0, began + len(samples) * every - time.monotonic()))
    rate = load.sampler.handled.rate(began, time.monotonic() - 1)
    failed = load.finish()
    return Soaked(
        seconds=round(time.monotonic() - began, 1),
        rate=rate,
        verdict=load.verdict(),
        trends=trends(samples),
        ended_alone=load.keeper.ended_alone + failed,
        samples=samples,
    )


def progress(load: Load, sample: Sample, passed: float) -> str:
    megabytes = {name: value / 1024**2 for name, value in sample.items() if name.endswith((" memory", " bytes"))}
    told = ", ".join(f"{name} {value:.0f} MB" for name, value in sorted(megabytes.items()))
    counts = load.sampler.handled.counts
    return f"{passed / 60:.1f} min, {counts[-1] if counts else 0} handled; {told}"
