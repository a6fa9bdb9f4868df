"""Who hears what became of a run, once its transaction is committed?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django_eventbus import signals
from django_eventbus.delivery.deliveries import Outcome

from .run import Settled

OnRetry = Callable[[datetime | None], None]  # told when a waiting delivery is due; None: now


def wants_handled() -> bool:
    """Say whether anybody listens to what comes with every message."""
    return bool(signals.message_handled.receivers)


def report(settled: Iterable[Settled], *, on_retry: OnRetry) -> None:
    """Send the signals of settled runs; dead letters are told by `bury`."""
    for one in settled:
        match one.outcome:
            case Outcome.HANDLED | Outcome.DUPLICATE | Outcome.IGNORED:
                _handled(one)
            case Outcome.RETRY:
                on_retry(one.retry_at)
                _retried(one)
            case Outcome.DEAD_LETTERED:
                pass


def _handled(one: Settled) -> None:
    delivery = one.run.delivery
    signals.emit(
        signals.message_handled,
        _event_class(one),
        envelopes=[delivery.envelope],
        handler=delivery.handler.name,
        group=delivery.group,
        attempt=delivery.attempt,
        outcome=one.outcome.value,
        duration=timedelta(seconds=one.run.duration),
    )


def _retried(one: Settled) -> None:
    delivery = one.run.delivery
    signals.emit(
        signals.message_retried,
        _event_class(one),
        envelope=delivery.envelope,
        handler=delivery.handler.name,
        group=delivery.group,
        attempt=delivery.attempt,
        error=one.error,
        retry_at=one.retry_at,
    )


def _event_class(one: Settled) -> type | None:
    event = one.run.delivery.event
    return None if event is None else type(event)
