"""What follows when a handler has failed: another attempt, or a dead letter?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from random import Random

from django_eventbus.conf import BusConfig, RetryConfig
from django_eventbus.delivery.retry import GiveUp, RetryIn, RetryPolicy, decide
from django_eventbus.exceptions import RetryAside
from django_eventbus.models.dead_letter import DeadLetterReason

from .run import Run

STARTS_BEFORE_DEATH = 3  # a message that was begun this often, and never ended, kills its process


class ProcessDied(Exception):
    """The process died each time that it began this message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Run it again after a delay."""

    delay: timedelta
    is_aside: bool  # later messages of the key go on meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Make it a dead letter."""

    reason: DeadLetterReason
    is_held: bool  # later messages of the key wait for an operator's verdict


def conclude(run: Run, error: BaseException, config: BusConfig, *, random: Random) -> Again | Dead:
    """Decide what follows the failure of a run."""
    handler = run.delivery.handler
    is_aside = isinstance(error, RetryAside)
    is_ordered = handler.ordered and run.delivery.record.key is not None
    is_held = handler.on_dead_letter == "hold_key" and is_ordered and not is_aside
    if isinstance(error, ProcessDied):
        return Dead(reason=DeadLetterReason.PROCESS_DIED, is_held=is_held)
    policy = handler.retry or _default_policy(config.retry)
    match decide(policy, attempt=run.delivery.attempt, exception=error, random=random):
        case RetryIn(delay=delay):
            return Again(delay=delay, is_aside=is_aside)
        case GiveUp(reason=reason):
            return Dead(reason=DeadLetterReason(reason.value), is_held=is_held)


@lru_cache
def _default_policy(config: RetryConfig) -> RetryPolicy:
    return RetryPolicy.from_config(config)
