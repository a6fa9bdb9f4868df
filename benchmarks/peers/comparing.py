"""How much faster is our relay than other outboxes from PyPI: same rows, same broker, same server, in turn?"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import msgspec
import psycopg

from benchmarks import settings
from benchmarks.bench import Bench, LeftOut, median_ratio, per_second, require
from benchmarks.children import Child
from benchmarks.relaying import draining
from benchmarks.report import Row
from benchmarks.topics import Numbered, Topic, number_of

from .costs import COSTS, Drain, measured
from .warming import warm_up

OURS = 100_000
THEIRS = 2_000  # rates are compared: as many rows as ours would take minutes


class Wrapped(msgspec.Struct):
    """Find the number where a peer sends an envelope of its own."""

    payload: Numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Be another outbox in the best configuration that its documentation has for one process."""

    distribution: str
    role: str
    options: Mapping[str, Any] = field(default_factory=dict)
    configuration: str
    number_of: Callable[[bytes], int] = number_of
    at_least: int


PEERS = (
    Peer(
        distribution="django-reliable-outbox",
        role="reliable_outbox",
        options={"concurrency": 8, "batch_size": 100},
        configuration="--concurrency 8 --batch-size 100",
        number_of=lambda value: msgspec.json.decode(value, type=Wrapped).payload.number,
        at_least=60,
    ),
    Peer(
        distribution="django-outbox-pattern",
        role="outbox_pattern",
        configuration="chunks of 1000, no pause",
        at_least=40,
    ),
)


def run(bench: Bench) -> list[Row]:
    """Let ours and each peer drain a backlog in every round."""
    require_packages()
    warm_up(bench)
    counts = {peer.role: bench.scaled(THEIRS) for peer in PEERS} | {"relay": bench.scaled(OURS)}
    found: dict[str, list[Drain]] = {role: [] for role in counts}
    with ExitStack() as stack:
        connection = stack.enter_context(bench.connection())
        topics = {role: bench.topic() for role in counts}
        relay = stack.enter_context(bench.child("relay"))
        theirs = {peer.role: stack.enter_context(process_of(bench, peer, topics[peer.role])) for peer in PEERS}
        for round_number in range(bench.rounds + 1):
            drains = {"relay": drain_ours(connection, relay, topics["relay"], counts["relay"])}
            for peer in PEERS:
                drains[peer.role] = drain_theirs(
                    connection, peer, theirs[peer.role], topics[peer.role], counts[peer.role]
                )
            if round_number:  # the first one warms up
                for role, drain in drains.items():
                    found[role].append(drain)
        for topic in topics.values():
            topic.delete()
    return [row for peer in PEERS for row in rows_of(peer, found["relay"], found[peer.role], counts)]


def require_packages() -> None:
    """Say what is missing: these peers need a newer Python than this package does."""
    missing = [peer.distribution for peer in PEERS if version_of(peer) is None]
    if missing:
        raise LeftOut(
            f"{' and '.join(missing)} not installed (Python 3.12 or newer is needed): run `tox -e bench-peers`, "
            "or `python -m benchmarks peers` where the dependency group `peers` is installed"
        )


def version_of(peer: Peer) -> str | None:
    try:
        return version(peer.distribution)
    except PackageNotFoundError:
        return None


@contextmanager
def process_of(bench: Bench, peer: Peer, topic: Topic) -> Iterator[Child]:
    """Start a peer on a database of its own."""
    name = f"eventbus_bench_{peer.role}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(os.environ[settings.POSTGRES], autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            with bench.child(peer.role, database=name, topic=topic.name) as child:
                yield child
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def drain_ours(connection: psycopg.Connection[Any], relay: Child, topic: Topic, count: int) -> Drain:
    def drain() -> float:
        answer = relay.ask("drain", count=count)
        require(count, answer["sent"], "messages sent")
        return per_second(answer["marks"])  # it opens its producer first, for half a second: theirs are open

    draining.fill(connection, topic, count)
    found = measured(connection, relay, count, drain)
    require(list(range(count)), topic.read_new(), f"records of {topic.name}")
    draining.require_empty(connection)
    return found


def drain_theirs(connection: psycopg.Connection[Any], peer: Peer, child: Child, topic: Topic, count: int) -> Drain:
    def drain() -> float:
        answer = child.ask("drain", **peer.options)
        require(count, answer["sent"], f"messages sent by {peer.distribution}")
        return count / float(answer["seconds"])

    child.ask("fill", count=count)
    found = measured(connection, child, count, drain)
    require(list(range(count)), topic.read_new(peer.number_of), f"records of {topic.name}")
    return found


def rows_of(peer: Peer, ours: list[Drain], theirs: list[Drain], counts: Mapping[str, int]) -> Iterator[Row]:
    ratio = median_ratio([drain.rate for drain in ours], [drain.rate for drain in theirs])
    yield Row(
        what=f"drain to Kafka / {peer.distribution} {version_of(peer)}, {peer.configuration}",
        ours=f"{median(drain.rate for drain in ours):,.0f} rows/s of {counts['relay']:,}",
        reference=f"{median(drain.rate for drain in theirs):,.0f} rows/s of {counts[peer.role]:,}",
        ratio=ratio,
        target=f">= {peer.at_least}",
        is_met=ratio >= peer.at_least,
    )
    processor = median_ratio([whole(drain) for drain in theirs], [whole(drain) for drain in ours])
    yield Row(
        what=f"process + PostgreSQL (+ Kafka) of a row with {peer.distribution} / ours; transactions, WAL",
        ours=described(ours),
        reference=described(theirs),
        ratio=processor,
        target=f">= {peer.at_least}",
        is_met=processor >= peer.at_least,
    )


def whole(drain: Drain) -> float:
    """Return the processor time of the drainer and its database: other work disturbs it less than the clock."""
    return drain.processor + drain.postgres


def described(drains: list[Drain]) -> str:
    middle = {name: median(getattr(drain, name) for drain in drains) for name in COSTS}
    times = " + ".join(f"{middle[name] * 1e6:,.0f}" for name in ("processor", "postgres", "kafka"))
    return f"{times} µs, {middle['transactions']:.4f}, {middle['wal']:,.0f} B"
