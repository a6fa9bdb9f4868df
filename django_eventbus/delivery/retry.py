"""Is a failed delivery tried again, and when?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random

from django_eventbus.conf import RetryConfig
from django_eventbus.exceptions import ContractError, Reject, RetryAfter, Undecodable

ExceptionTypes = tuple[type[BaseException], ...]
Delay = float | timedelta

LONGEST_DELAY = timedelta(days=3660)  # ten years; who asks for more took a point in time for a delay


class GiveUpReason(StrEnum):
    """Why there is no further attempt; the values are those of `DeadLetterReason`."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    NEVER_RETRIED = "never_retried"
    REJECTED = "rejected"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """Try again after a delay."""

    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Make it a dead letter."""

    reason: GiveUpReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Say how often, when, and after which exceptions a handler runs again. Delays are seconds or timedeltas."""

    max_attempts: int = 5  # includes the first attempt
    delays: Sequence[Delay] = (1, 5, 30, 300)  # before each repetition; the last one repeats
    jitter: float = 0.2  # share by which a delay is stretched or shortened at random
    never: ExceptionTypes = ()  # these are dead letters at once
    only: ExceptionTypes | None = None  # all others are dead letters at once

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ContractError(f"RetryPolicy: max_attempts={self.max_attempts!r} includes the first; give 1 or more.")
        if not isinstance(self.delays, tuple | list):
            raise ContractError(f"RetryPolicy: delays={self.delays!r} is no tuple. Write delays=({self.delays!r},).")
        if self.max_attempts > 1 and not self.delays:
            raise ContractError("RetryPolicy: delays is empty. Give at least one, or max_attempts=1.")
        if any(_as_timedelta(delay) < timedelta() for delay in self.delays):
            raise ContractError(f"RetryPolicy: delays={self.delays!r} holds a negative one.")
        if not 0 <= self.jitter <= 1:
            raise ContractError(f"RetryPolicy: jitter={self.jitter!r} is a share; give 0 to 1.")
        for name, types in (("never", self.never), ("only", self.only or ())):
            if not _are_exceptions(types):
                raise ContractError(f"RetryPolicy: {name}={types!r} must be a tuple of exception classes.")

    @classmethod
    def exponential(
        cls,
        *,
        max_attempts: int = 5,
        first: Delay = 1,
        factor: float = 2,
        longest: Delay = 3600,
        jitter: float = 0.2,
        never: ExceptionTypes = (),
        only: ExceptionTypes | None = None,
    ) -> RetryPolicy:
        """Make a policy whose delays grow by `factor` from `first` up to `longest`."""
        delays = [_as_timedelta(first)]
        most = _as_timedelta(longest)
        while len(delays) < max_attempts - 1 and delays[-1] < most:
            delays.append(delays[-1] * factor)
        capped = tuple(min(delay, most) for delay in delays)
        return cls(max_attempts=max_attempts, delays=capped, jitter=jitter, never=never, only=only)

    @classmethod
    def from_config(cls, config: RetryConfig) -> RetryPolicy:
        """Make the policy of handlers that have none of their own."""
        return cls(max_attempts=config.max_attempts, delays=config.delays, jitter=config.jitter)

    def delay_after(self, attempt: int) -> timedelta:
        """Return the delay after this failed attempt (1-based), without jitter."""
        return _as_timedelta(self.delays[min(attempt, len(self.delays)) - 1])


def decide(policy: RetryPolicy, *, attempt: int, exception: BaseException, random: Random) -> RetryIn | GiveUp:
    """Decide what follows the failure of an attempt (1-based); depends on nothing but its arguments."""
    if isinstance(exception, Reject):
        return GiveUp(reason=GiveUpReason.REJECTED)
    if isinstance(exception, Undecodable):
        return GiveUp(reason=GiveUpReason.UNDECODABLE)
    asked = exception.delay if isinstance(exception, RetryAfter) else None
    if asked is None and not _is_retryable(policy, exception):
        return GiveUp(reason=GiveUpReason.NEVER_RETRIED)
    if attempt >= policy.max_attempts:
        return GiveUp(reason=GiveUpReason.ATTEMPTS_EXHAUSTED)
    if asked is not None:
        return RetryIn(delay=min(max(asked, timedelta()), LONGEST_DELAY))
    delay = min(policy.delay_after(attempt), LONGEST_DELAY) * (1 + policy.jitter * random.uniform(-1, 1))
    return RetryIn(delay=min(delay, LONGEST_DELAY))


def _is_retryable(policy: RetryPolicy, exception: BaseException) -> bool:
    if isinstance(exception, policy.never):
        return False
    return policy.only is None or isinstance(exception, policy.only)


def _are_exceptions(types: object) -> bool:
    return isinstance(types, tuple) and all(isinstance(t, type) and issubclass(t, BaseException) for t in types)


def _as_timedelta(delay: Delay) -> timedelta:
    return delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
