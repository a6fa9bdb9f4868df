"""What can be set, with which default? (The reference page of the settings is made from these fields.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, Literal

KAFKA_TRANSPORT = "django_eventbus.transports.kafka.KafkaTransport"
LOCAL_TRANSPORT = "django_eventbus.transports.local.LocalTransport"
MEMORY_TRANSPORT = "django_eventbus.transports.memory.MemoryTransport"
SHORT_TRANSPORTS = {"kafka": KAFKA_TRANSPORT, "local": LOCAL_TRANSPORT, "memory": MEMORY_TRANSPORT}

# More than 64 savepoints in one transaction overflow the server's subtransaction cache, which slows every session.
MOST_SAVEPOINTS = 64
SHARDS = 64
LOCAL_SUFFIX = ":local"  # no alias of a user ends so
_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Limit a number; a limit of None is open."""

    low: float
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Limit a text to a pattern, which is matched in full."""

    pattern: str
    meaning: str


_DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)+"
DottedPath = Annotated[str, Matches(pattern=_DOTTED, meaning="a dotted path to code")]
TransportPath = Annotated[str, Matches(pattern=_DOTTED, meaning="kafka, local, memory, or the path of a transport")]
ServiceName = Annotated[str, Matches(pattern=r"[a-z0-9]+(-[a-z0-9]+)*", meaning="lower-case words joined by '-'")]
DomainName = Annotated[
    str, Matches(pattern=r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*", meaning="letters, digits and '-', a letter first")
]
EnvironmentName = Annotated[str, Matches(pattern=r"[A-Za-z0-9][A-Za-z0-9_-]*", meaning="letters, digits, '-' and '_'")]
WakeWith = Literal["notify", "thread", "poll", "celery"]
ContentMode = Literal["binary", "structured"]
AfterDeadLetter = Literal["continue", "hold_key"]
UnknownEvent = Literal["skip", "dead_letter"]
GroupProtocol = Literal["classic", "consumer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """Set how events leave: `EVENTBUS[alias]["OUTBOX"]`."""

    batch_size: Annotated[int, Between(low=1, high=10_000)] = 1000  # rows that a relay sends in one step
    relays: Annotated[int, Between(low=1, high=SHARDS)] = 1  # groups of shards, each served by one active relay
    wake_with: WakeWith | None = None  # how a commit wakes the relay; None: by database and transport
    retention: timedelta | None = None  # how long sent events stay in the archive; None: there is no archive
    max_event_bytes: Annotated[int, Between(low=1)] = 900_000  # larger events are refused by publish()
    listen_database: str | None = None  # alias with a direct connection for LISTEN behind PgBouncer; None: DATABASE
    grace: timedelta = timedelta(seconds=30)  # a relay whose step takes longer is evicted by its standby
    send_deadline: timedelta = timedelta(seconds=10)  # longest wait for the broker in one step; shorter than GRACE
    on_dead_letter: AfterDeadLetter = "continue"  # what later events of a key do when one of them can never be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerConfig:
    """Set how events arrive: `EVENTBUS[alias]["CONSUMER"]`."""

    concurrency: Annotated[int, Between(low=1, high=1000)] = 4  # units of work that run at the same time
    batch_size: Annotated[int, Between(low=1, high=MOST_SAVEPOINTS)] = 50  # handler runs in one transaction
    max_in_flight: Annotated[int, Between(low=1)] = 1000  # messages held in memory; above it the worker stops polling
    shutdown_timeout: timedelta = timedelta(seconds=30)  # how long a stopping worker waits for running handlers
    grace: timedelta = timedelta(seconds=30)  # how long a predecessor may finish; at least the longest handler time-out
    unknown_event: UnknownEvent = "skip"  # an event of a subscribed topic that no handler knows: counted, or kept
    group_protocol: GroupProtocol = "classic"  # "consumer": the broker assigns partitions (KIP-848, Kafka 4.0)
    static_membership: bool = False  # a restarted worker gets its partitions back without a rebalance


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxConfig:
    """Set how long handled events are remembered: `EVENTBUS[alias]["INBOX"]`."""

    retention: timedelta = timedelta(days=30)  # duplicates are known this long; must exceed the broker's retention


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """Set the policy of handlers that have none of their own: `EVENTBUS[alias]["RETRY"]`."""

    max_attempts: Annotated[int, Between(low=1)] = 5  # includes the first attempt
    delays: tuple[timedelta, ...] = _DELAYS  # before the second attempt, the third ..; the last one repeats
    jitter: Annotated[float, Between(low=0, high=1)] = 0.2  # share by which a delay is stretched or shortened at random


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterConfig:
    """Set how long dead letters are kept: `EVENTBUS[alias]["DEAD_LETTER"]`."""

    retention: timedelta | None = timedelta(days=90)  # for replayed and discarded ones; open ones are never purged


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaConfig:
    """Set how long sagas are kept, and how large they may be: `EVENTBUS[alias]["SAGA"]`."""

    retention: timedelta | None = timedelta(days=90)  # for completed and compensated ones; None: kept for ever
    warn_state_bytes: Annotated[int, Between(low=1)] = 16_384  # what grows beyond, compensations included, is logged
    max_state_bytes: Annotated[int, Between(low=1)] = 65_536  # the step that makes it larger is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """Set one bus: `EVENTBUS[alias]`; `load` fills in what depends on the project."""

    alias: str  # the key in EVENTBUS; `publish` uses "default"
    transport: TransportPath = LOCAL_TRANSPORT  # dotted path, or kafka, local, memory
    service: ServiceName  # default: name of the project package
    domain: DomainName | None = None  # domain of events whose app names none
    environment: EnvironmentName = "dev"  # shortened: Production -> prod, Staging -> stag
    source: str  # CloudEvents source; default: /{domain in snake case}/{service}
    group: str  # consumer group of apps that name none; default: {service}-{environment}
    database: str = "default"  # alias whose transactions publish() joins
    require_atomic: bool = True  # publish() outside atomic() is an error
    partition_key_fields: tuple[str, ...] = ()  # fields that make the key of events that declare none
    escape_keys: bool = True  # escape | and \ in composite keys; False for parity with producers that do not
    create_topics: bool = False  # commands create missing topics; default: DEBUG
    namer: DottedPath = "django_eventbus.events.naming.default_namer"  # function from contract and config to topic
    content_mode: ContentMode = "binary"  # how CloudEvents are written; both forms are read
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # librdkafka names, for every client
    producer_options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # librdkafka names, above OPTIONS
    consumer_options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # librdkafka names, above OPTIONS
    outbox: OutboxConfig = OutboxConfig()
    consumer: ConsumerConfig = ConsumerConfig()
    inbox: InboxConfig = InboxConfig()
    retry: RetryConfig = RetryConfig()
    dead_letter: DeadLetterConfig = DeadLetterConfig()
    saga: SagaConfig = SagaConfig()
    middleware: tuple[DottedPath, ...] = ()  # room for a later version: must stay empty

    @property
    def local(self) -> BusConfig:
        """Return the bus's local queue: this bus itself where its transport is local, else a companion of it.

        The companion is a bus with a number of its own, so that its rows share the tables and nothing else. Nobody
        names it: `consume_events` runs it beside the workers of its bus.
        """
        if self.transport == LOCAL_TRANSPORT:
            return self
        # The commit may happen in any process, the relay runs where the handlers do: no thread and no task reaches it.
        wake_with: WakeWith | None = "poll" if self.outbox.wake_with == "poll" else None
        return replace(
            self,
            alias=f"{self.alias}{LOCAL_SUFFIX}",
            transport=LOCAL_TRANSPORT,
            outbox=replace(self.outbox, relays=1, wake_with=wake_with),
        )

    @property
    def queues(self) -> tuple[BusConfig, ...]:
        """Return what holds rows for this bus: itself, and its companion where it has one."""
        return (self,) if self.transport == LOCAL_TRANSPORT else (self, self.local)

    @property
    def is_companion(self) -> bool:
        """Say whether this is the local queue of a bus that has a broker."""
        return self.alias.endswith(LOCAL_SUFFIX)
