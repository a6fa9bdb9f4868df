"""Whatever policy, attempt and exception: there is one decision, its delay is within bounds, and the end comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from django_eventbus.delivery.retry import GiveUp, GiveUpReason, RetryIn, RetryPolicy, decide
from django_eventbus.exceptions import Reject, RetryAfter, RetryAside, Undecodable, UndecodableReason

# What a person writes by mistake too: milliseconds for seconds, a point in time for a duration, "never" as the largest.
delays = st.one_of(
    st.floats(0, 1e5),
    st.integers(0, 10**13),
    st.timedeltas(timedelta(), timedelta(days=10)),
    st.just(timedelta.max),
)
exception_types = st.sampled_from([ValueError, KeyError, LookupError, OSError, ConnectionError, Exception])
type_tuples = st.lists(exception_types, max_size=3).map(tuple)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 50),
    delays=st.lists(delays, min_size=1, max_size=6).map(tuple),
    jitter=st.floats(0, 1),
    never=type_tuples,
    only=st.none() | type_tuples,
)
exceptions = st.one_of(
    exception_types.map(lambda kind: kind("x")),
    st.builds(RetryAfter, st.floats(-1e6, 1e6) | st.integers(-(10**12), 10**13) | st.timedeltas()),
    st.builds(Reject, st.text()),
    st.builds(RetryAside, st.text()),
    st.builds(Undecodable, st.sampled_from(UndecodableReason), st.text()),
)
attempts = st.integers(1, 60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
IMPATIENT = timedelta(days=3660)


@given(policies, attempts, exceptions, st.integers())
def test_each_failure_has_one_decision(policy: RetryPolicy, attempt: int, exception: Exception, seed: int) -> None:
    decision = decide(policy, attempt=attempt, exception=exception, random=Random(seed))

    assert decision == decide(policy, attempt=attempt, exception=exception, random=Random(seed))
    if isinstance(decision, RetryIn):
        assert attempt < policy.max_attempts
        assert timedelta() <= decision.delay <= IMPATIENT
        assert NOW + decision.delay > NOW - IMPATIENT  # a moment that a row can hold
    if isinstance(exception, Reject):
        assert decision == GiveUp(reason=GiveUpReason.REJECTED)
    elif isinstance(exception, Undecodable):
        assert decision == GiveUp(reason=GiveUpReason.UNDECODABLE)
    elif isinstance(exception, RetryAfter):
        exhausted = GiveUp(reason=GiveUpReason.ATTEMPTS_EXHAUSTED)
        asked = RetryIn(delay=min(max(exception.delay, timedelta()), IMPATIENT))
        assert decision == (asked if attempt < policy.max_attempts else exhausted)
    else:
        is_retried = not isinstance(exception, policy.never) and (
            policy.only is None or isinstance(exception, policy.only)
        )
        assert (decision == GiveUp(reason=GiveUpReason.NEVER_RETRIED)) == (not is_retried)
        assert (decision == GiveUp(reason=GiveUpReason.ATTEMPTS_EXHAUSTED)) == (
            is_retried and attempt >= policy.max_attempts
        )


@given(
    st.integers(1, 50), st.lists(st.floats(0, 1e5), min_size=1, max_size=6).map(tuple), st.floats(0, 1), st.integers()
)
def test_a_handler_that_always_fails_is_run_exactly_as_often_as_was_said(
    most: int, waits: tuple[float, ...], jitter: float, seed: int
) -> None:
    policy, random = RetryPolicy(max_attempts=most, delays=waits, jitter=jitter), Random(seed)
    waited: list[timedelta] = []

    while isinstance(
        decision := decide(policy, attempt=len(waited) + 1, exception=ValueError(), random=random), RetryIn
    ):
        waited.append(decision.delay)

    assert len(waited) == most - 1
    for number, delay in enumerate(waited, start=1):
        plain = policy.delay_after(number)
        assert plain * (1 - jitter) - timedelta(microseconds=2) <= delay
        assert delay <= plain * (1 + jitter) + timedelta(microseconds=2)


@given(st.integers(1, 40), st.floats(0.001, 1e4), st.floats(1, 10), st.floats(0.001, 1e6), st.integers(1, 60))
def test_exponential_delays_grow_and_stay_below_the_longest(
    most: int, first: float, factor: float, longest: float, attempt: int
) -> None:
    policy = RetryPolicy.exponential(max_attempts=most, first=first, factor=factor, longest=longest)

    assert policy.delay_after(attempt) <= policy.delay_after(attempt + 1) <= timedelta(seconds=longest)
