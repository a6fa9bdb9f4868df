"""Whether and when a failed attempt is followed by another one."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.delivery.retry import GiveUp, GiveUpReason, RetryIn, RetryPolicy, decide
from django_eventbus.exceptions import ContractError, Reject, RetryAfter, Undecodable, UndecodableReason
from django_eventbus.models.dead_letter import DeadLetterReason

STEADY = RetryPolicy(jitter=0)


def after(policy: RetryPolicy, attempt: int, exception: BaseException | None = None) -> RetryIn | GiveUp:
    return decide(policy, attempt=attempt, exception=exception or ValueError("x"), random=Random(1))


def seconds(policy: RetryPolicy, attempts: int) -> list[float]:
    decisions = [after(policy, attempt) for attempt in range(1, attempts + 1)]
    return [d.delay.total_seconds() for d in decisions if isinstance(d, RetryIn)]


def test_the_default_tries_five_times_with_growing_delays() -> None:
    assert seconds(STEADY, 4) == [1, 5, 30, 300]
    assert after(STEADY, 5) == GiveUp(reason=GiveUpReason.ATTEMPTS_EXHAUSTED)


def test_the_last_delay_repeats() -> None:
    assert seconds(RetryPolicy(max_attempts=5, delays=(1, timedelta(minutes=1)), jitter=0), 4) == [1, 60, 60, 60]


def test_exponential_delays_grow_up_to_the_longest() -> None:
    policy = RetryPolicy.exponential(max_attempts=8, first=1, factor=3, longest=30, jitter=0)

    assert seconds(policy, 7) == [1, 3, 9, 27, 30, 30, 30]


@given(attempt=st.integers(1, 4), seed=st.integers())
def test_jitter_stays_within_its_share(attempt: int, seed: int) -> None:
    policy = RetryPolicy(jitter=0.2)

    decision = decide(policy, attempt=attempt, exception=ValueError(), random=Random(seed))

    assert isinstance(decision, RetryIn)
    assert abs(decision.delay / policy.delay_after(attempt) - 1) <= 0.2


def test_one_seed_gives_one_decision() -> None:
    assert after(RetryPolicy(), 2) == after(RetryPolicy(), 2) != after(STEADY, 2)


@pytest.mark.parametrize(
    ("policy", "exception", "reason"),
    [
        (RetryPolicy(never=(LookupError,)), KeyError("k"), GiveUpReason.NEVER_RETRIED),
        (RetryPolicy(only=(OSError,)), ValueError("v"), GiveUpReason.NEVER_RETRIED),
        (STEADY, Reject("no"), GiveUpReason.REJECTED),
        (STEADY, Undecodable(UndecodableReason.INVALID_JSON, "x"), GiveUpReason.UNDECODABLE),
    ],
)
def test_some_exceptions_end_at_once(policy: RetryPolicy, exception: Exception, reason: GiveUpReason) -> None:
    assert after(policy, 1, exception) == GiveUp(reason=reason)


def test_only_lets_its_exceptions_be_retried() -> None:
    assert isinstance(after(RetryPolicy(only=(OSError,)), 1, ConnectionError()), RetryIn)


def test_retry_after_gives_its_own_delay_and_counts_as_an_attempt() -> None:
    assert after(RetryPolicy(never=(RetryAfter,)), 1, RetryAfter(90)) == RetryIn(delay=timedelta(seconds=90))
    assert after(STEADY, 5, RetryAfter(90)) == GiveUp(reason=GiveUpReason.ATTEMPTS_EXHAUSTED)
    assert after(STEADY, 1, RetryAfter(-5)) == RetryIn(delay=timedelta())


def test_every_reason_to_give_up_is_a_reason_of_a_dead_letter() -> None:
    assert all(DeadLetterReason(reason.value) for reason in GiveUpReason)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"delays": ()},
        {"delays": (-1,)},
        {"jitter": 1.1},
        {"never": ValueError},
        {"only": (1,)},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
