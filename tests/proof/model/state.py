"""What does the world consist of, as small as it can be without losing what could go wrong?

One bus, one topic with one partition, one group. Events are named by their outbox id. All values are immutable, so a
state can be remembered.
"""

from __future__ import annotations

from typing import NamedTuple

Events = tuple[int, ...]


class Bounds(NamedTuple):
    """Say how large the world is, and how often each fault may happen."""

    keys: str  # of the transactions, one event each
    relays: int = 2
    consumers: int = 2
    handlers: int = 1
    sent: Events = ()  # what the log holds at the start; the first transactions have published it
    is_looking: bool = False  # relays raise their floor
    crashes: int = 0  # processes killed
    evictions: int = 0  # database sessions ended: frozen holders of locks, mostly
    expulsions: int = 0  # consumers whose partition the broker gives away while they live
    outages: int = 0  # the broker takes nothing more of a batch
    refusals: int = 0  # records that the broker will never take
    troubles: int = 0  # records that the broker does not take now
    failures: int = 0  # runs of the first handler
    replays: int = 0
    rollbacks: int = 0


class Budget(NamedTuple):
    """Count the faults that may still happen."""

    crashes: int
    evictions: int
    expulsions: int
    outages: int
    refusals: int
    troubles: int
    failures: int
    replays: int
    rollbacks: int


class Writer(NamedTuple):
    """One transaction that publishes one event, under the row lock of its key."""

    key: str
    id: int = 0  # taken from the sequence by the INSERT
    is_open: bool = False
    ended: str = ""  # committed, or rolled back


class Relay(NamedTuple):
    """One relay, and its session."""

    has_begun: bool = False  # its transaction is open, and holds the locks
    is_evicted: bool = False  # its session is ended, and it does not know
    candidate: tuple[int, Events] | None = None  # last id given, and the writers that were open then
    safe: int = 0
    floor: int = 0
    lanes: str | None = None  # keys that wait, once they are read
    probe: Events = ()  # the first one that waits of each
    has_read: bool = False
    safe_at_read: int = 0
    batch: Events = ()  # read, not yet decided
    aside: Events = ()  # read, and to be parked behind others of their key
    acked: Events = ()
    refused: Events = ()
    troubled: Events = ()
    first: int = 0  # first id of the read


class Unit(NamedTuple):
    """One transaction of a consumer."""

    event: int
    is_retry: bool = False
    is_open: bool = False
    is_evicted: bool = False
    fresh: tuple[bool, ...] = ()  # per handler: the inbox did not know the message
    results: tuple[str, ...] = ()  # per handler: handled, failed, duplicate, behind
    has_committed: bool = False


class Consumer(NamedTuple):
    """One member of the group."""

    is_assigned: bool = False  # it believes so
    epoch: int = 0  # 0: the partition is not taken
    was_fenced: bool = False  # asks the broker before it takes the partition again
    position: int = 0
    done: int = 0  # offset up to which everything is committed
    unit: Unit | None = None


class Waiting(NamedTuple):
    """One row of the retry table."""

    event: int
    attempts: int
    is_due: bool


class Handler(NamedTuple):
    """What the database knows for one handler."""

    inbox: frozenset[int] = frozenset()
    effects: Events = ()  # in the order of their commits
    waiting: tuple[Waiting, ...] = ()  # in the order of their positions
    dead: frozenset[int] = frozenset()
    was_dead: frozenset[int] = frozenset()
    failures: tuple[tuple[int, int], ...] = ()  # event -> runs that failed since it was published, or replayed


class State(NamedTuple):
    """Be the whole world at one moment."""

    budget: Budget
    whole_budget: Budget  # what it was at the start
    is_looking: bool
    last_id: int
    writers: tuple[Writer, ...]
    outbox: frozenset[int]
    lanes: str  # keys that wait; the last one's lane stays until somebody finds it empty
    parked: Events
    unsendable: frozenset[int]  # what the broker has refused, it refuses for ever
    buried: frozenset[int]  # dead letters of the outbox
    relays: tuple[Relay, ...]
    log: Events
    owner: int | None  # consumer that the broker has given the partition to
    committed: int  # offset that the broker keeps for the group
    epoch: int
    consumers: tuple[Consumer, ...]
    handlers: tuple[Handler, ...]

    def key_of(self, event: int) -> str:
        return next(writer.key for writer in self.writers if writer.id == event)

    def was_committed(self, event: int) -> bool:
        return any(writer.id == event and writer.ended == "committed" for writer in self.writers)


def beginning(bounds: Bounds) -> State:
    """Return the state before anything has happened."""
    there = len(bounds.sent)
    writers = tuple(
        Writer(key=key, id=number, ended="committed") if number <= there else Writer(key=key)
        for number, key in enumerate(bounds.keys, start=1)
    )
    budget = Budget(*(getattr(bounds, name) for name in Budget._fields))
    return State(
        budget=budget,
        whole_budget=budget,
        is_looking=bounds.is_looking,
        last_id=there,
        writers=writers,
        outbox=frozenset(),
        lanes="",
        parked=(),
        unsendable=frozenset(),
        buried=frozenset(),
        relays=(Relay(),) * bounds.relays,
        log=bounds.sent,
        owner=None,
        committed=0,
        epoch=0,
        consumers=(Consumer(),) * bounds.consumers,
        handlers=(Handler(),) * bounds.handlers,
    )
