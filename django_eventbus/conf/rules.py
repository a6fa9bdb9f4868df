"""Which settings are wrong only together?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from .problems import Problem, Severity, likely
from .sections import KAFKA_TRANSPORT, BusConfig

_ADDRESS = "bootstrap.servers"
_ADDRESS_NAMES = {_ADDRESS, "metadata.broker.list"}  # librdkafka knows both


def broken_rules(config: BusConfig, raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what no single value shows; `raw` tells what was really set."""
    path = f"EVENTBUS[{config.alias!r}]"
    yield from _durations(config, path)
    yield from _databases(config, path)
    if config.consumer.max_in_flight < config.consumer.batch_size:
        yield _problem(
            f"{path}['CONSUMER']['MAX_IN_FLIGHT']",
            f"is {config.consumer.max_in_flight}, less than one batch ({config.consumer.batch_size}).",
            "Raise it, or lower CONSUMER['BATCH_SIZE'].",
        )
    if config.saga.warn_state_bytes > config.saga.max_state_bytes:
        yield _problem(
            f"{path}['SAGA']['WARN_STATE_BYTES']",
            f"is {config.saga.warn_state_bytes}, more than MAX_STATE_BYTES ({config.saga.max_state_bytes}).",
            "Lower it: a state is to be noticed before it is refused.",
        )
    if config.middleware:
        yield _problem(f"{path}['MIDDLEWARE']", "is not empty, but this version runs no middleware.", "Remove it.")
    if config.transport == KAFKA_TRANSPORT:
        yield from _kafka(config, raw, path)


def _durations(config: BusConfig, path: str) -> Iterator[Problem]:
    outbox = config.outbox
    if outbox.send_deadline >= outbox.grace:
        yield _problem(
            f"{path}['OUTBOX']['SEND_DEADLINE']",
            f"is {outbox.send_deadline.total_seconds():g} s, but GRACE is {outbox.grace.total_seconds():g} s.",
            "Make it shorter than GRACE: a relay must stop waiting before its standby evicts it.",
        )


def _databases(config: BusConfig, path: str) -> Iterator[Problem]:
    aliases = {"default", *settings.DATABASES}
    wanted = {"['DATABASE']": config.database, "['OUTBOX']['LISTEN_DATABASE']": config.outbox.listen_database}
    for place, alias in wanted.items():
        if alias is not None and alias not in aliases:
            meant = likely(alias, aliases)
            hint = f"Did you mean {meant!r}?" if meant else f"Known: {', '.join(sorted(aliases))}."
            yield _problem(f"{path}{place}", f"is {alias!r}, which is not in DATABASES.", hint)


def _kafka(config: BusConfig, raw: Mapping[str, Any], path: str) -> Iterator[Problem]:
    both = set(config.options) | (set(config.producer_options) & set(config.consumer_options))
    if not both & _ADDRESS_NAMES:
        meant = likely(_ADDRESS, config.options)
        why = "; librdkafka names have dots" if meant and "_" in meant else ""
        yield _problem(
            f"{path}['OPTIONS']['{_ADDRESS}']",
            "is missing: Kafka has no address.",
            f"You wrote {meant!r}{why}." if meant else "Set it to 'host:9092'.",
        )
    if not settings.DEBUG:
        for name, value in (("SERVICE", config.service), ("ENVIRONMENT", config.environment)):
            if name not in raw:
                yield _problem(
                    f"{path}['{name}']",
                    f"is not set; {value!r} is only a guess.",
                    "Set it: topics, consumer groups and the source of every event are named after it.",
                    severity=Severity.DEPLOYMENT,
                )


def _problem(path: str, says: str, hint: str, *, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(path=path, message=f"{path} {says}", hint=hint, severity=severity)
