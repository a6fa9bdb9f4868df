"""Which librdkafka configuration do our clients run with, and what in the settings would break a guarantee?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django_eventbus.conf import BusConfig, redacted
from django_eventbus.transports.base import ConsumerOptions

from .options import consumer_refusals, producer_refusals

__all__ = ["admin_config", "consumer_config", "problems", "producer_config", "redacted"]

SMALLEST_BATCH = 16_384  # bytes; below it a batch holds hardly more than one record
LARGEST_RECORD = 1_000_000  # bytes; librdkafka's default of message.max.bytes
FRAMING = 1024  # bytes; what librdkafka counts on top of key, value and headers, with room for many headers

_SHARED_DEFAULTS: dict[str, Any] = {
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 1000,  # the default of 10 s would prolong every outage
}
_PRODUCER_DEFAULTS: dict[str, Any] = {
    "compression.type": "lz4",
    "linger.ms": 5,
    "batch.size": LARGEST_RECORD,
    "message.max.bytes": LARGEST_RECORD,
    "topic.metadata.propagation.max.ms": 1000,  # the default of 30 s makes a missing topic look like silence
}
_CONSUMER_DEFAULTS: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "earliest",  # librdkafka's "latest" loses what was sent before a new group's first start
    "auto.commit.interval.ms": 1000,
    "isolation.level": "read_committed",
    "max.poll.interval.ms": 300_000,
    "session.timeout.ms": 45_000,
    "heartbeat.interval.ms": 3000,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 50,  # the default of 1 s stalls a partition after each full local queue
    "topic.metadata.refresh.interval.ms": 30_000,  # a topic that is created later is found by then
    "allow.auto.create.topics": False,
}
_PRODUCER_GUARANTEES: dict[str, Any] = {
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "acks": "all",
    "partitioner": "murmur2_random",
}
_CONSUMER_GUARANTEES: dict[str, Any] = {"enable.auto.commit": True, "enable.auto.offset.store": False}
_OURS = {  # set per client; why nobody else may set it
    "group.id": "groups are named by GROUP and AppConfig.eventbus_group",
    "group.instance.id": "one id for all processes would fence them; set CONSUMER['STATIC_MEMBERSHIP']",
    "group.protocol": "set CONSUMER['GROUP_PROTOCOL']",
    "enable.partition.eof": "the consumer sets it where it needs it",
    "transactional.id": "the relay sends without transactions; a relay that was replaced can only repeat what was sent",
    "delivery.report.only.error": "the relay deletes a row by its delivery report",
    "on_delivery": "the relay deletes a row by its delivery report",
    "dr_cb": "the relay deletes a row by its delivery report",
    "error_cb": "fatal errors must reach the relay",
    "logger": "configure the logger django_eventbus.kafka instead",
}
_CHOICES = {  # librdkafka takes any text for these, and fails much later
    "sasl.mechanism": {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"},
    "security.protocol": {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"},
    "group.remote.assignor": {"UNIFORM", "RANGE"},
}
_ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "delivery.timeout.ms": "message.timeout.ms",
    "request.required.acks": "acks",
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "sasl.mechanisms": "sasl.mechanism",
}
_KNOWN = (
    *(_SHARED_DEFAULTS | _PRODUCER_DEFAULTS | _CONSUMER_DEFAULTS | _PRODUCER_GUARANTEES | _CONSUMER_GUARANTEES),
    *(_CHOICES | _OURS | _ALIASES),
    "bootstrap.servers",
)
_ONLY_CLASSIC = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type")
_MILLISECOND = timedelta(milliseconds=1)


def producer_config(bus: BusConfig, *, client_id: str) -> dict[str, Any]:
    """Build the configuration of a relay's producer; what a guarantee hangs on cannot be overridden."""
    timeout = default_message_timeout(bus)
    times = {
        "message.timeout.ms": timeout // _MILLISECOND,
        "socket.timeout.ms": max(timeout // 2 // _MILLISECOND, 1000),
    }
    chosen = _plain(bus.options) | _plain(bus.producer_options)
    merged = _SHARED_DEFAULTS | _PRODUCER_DEFAULTS | times | {"client.id": client_id} | chosen
    return _without_ours(merged) | _PRODUCER_GUARANTEES


def consumer_config(bus: BusConfig, options: ConsumerOptions) -> dict[str, Any]:
    """Build the configuration of a worker's consumer; what a guarantee hangs on cannot be overridden."""
    chosen = _plain(bus.options) | _plain(bus.consumer_options)
    merged = _without_ours(_SHARED_DEFAULTS | _CONSUMER_DEFAULTS | {"client.id": options.client_id} | chosen)
    merged |= _CONSUMER_GUARANTEES | {
        "group.id": options.group,
        "group.protocol": bus.consumer.group_protocol,
        "enable.partition.eof": options.report_ends,
    }
    if options.instance_id is not None:
        merged["group.instance.id"] = options.instance_id
    if bus.consumer.group_protocol == "consumer":
        # The broker decides these in the new protocol, and librdkafka refuses to start when they are set.
        merged = {name: value for name, value in merged.items() if name not in _ONLY_CLASSIC}
    else:
        merged.pop("group.remote.assignor", None)
    return merged


def admin_config(bus: BusConfig, *, client_id: str) -> dict[str, Any]:
    """Build the configuration of a client that looks at topics and creates them."""
    return _without_ours(_SHARED_DEFAULTS | {"client.id": client_id} | _plain(bus.options))


def default_message_timeout(bus: BusConfig) -> timedelta:
    """Place message.timeout.ms midway between SEND_DEADLINE and GRACE: 20 s for 10 s and 30 s."""
    return (bus.outbox.send_deadline + bus.outbox.grace) / 2


def problems(bus: BusConfig) -> list[str]:
    """List what in the settings would break a guarantee or fail at start; each text names path and remedy."""
    return [
        *_missing_servers(bus),
        *_refused(bus),
        *(text for section, name, value in _chosen(bus) for text in _misplaced(bus, section, name, value)),
        *_timing(bus),
        *_sizes(bus),
    ]


def _missing_servers(bus: BusConfig) -> Iterator[str]:
    for section, options in (("PRODUCER_OPTIONS", bus.producer_options), ("CONSUMER_OPTIONS", bus.consumer_options)):
        if not str((_plain(bus.options) | _plain(options)).get("bootstrap.servers") or "").strip():
            path = f"EVENTBUS[{bus.alias!r}]['OPTIONS']['bootstrap.servers']"
            yield f"{path} is missing: name the brokers there, such as 'kafka:9092' ({section} has none either)."


def _refused(bus: BusConfig) -> Iterator[str]:
    sections = {
        "OPTIONS": producer_refusals(_without_ours(bus.options)),
        "PRODUCER_OPTIONS": producer_refusals(_without_ours(bus.producer_options)),
        "CONSUMER_OPTIONS": consumer_refusals(_without_ours(bus.consumer_options)),
    }
    for section, refused in sections.items():
        for name, reason in refused.items():
            likely = get_close_matches(name, _KNOWN, n=1)
            hint = f" Did you mean {likely[0]!r}?" if likely and likely[0] != name else ""
            yield f"EVENTBUS[{bus.alias!r}][{section!r}][{name!r}] is refused by librdkafka: {reason}.{hint}"


def _misplaced(bus: BusConfig, section: str, name: str, value: Any) -> Iterator[str]:
    path = f"EVENTBUS[{bus.alias!r}][{section!r}][{name!r}]"
    plain = _ALIASES.get(name, name)
    if plain in _OURS:
        yield f"{path} is ignored: {_OURS[plain]}. Remove it."
    guarantees = _PRODUCER_GUARANTEES | _CONSUMER_GUARANTEES
    if plain in guarantees and _text(value) not in _equals(guarantees[plain]):
        yield f"{path} is ignored: order and delivery need {guarantees[plain]!r}. Remove it."
    if plain in _CHOICES and str(value).upper() not in _CHOICES[plain]:
        yield f"{path} is {value!r}, which is none of {', '.join(sorted(_CHOICES[plain]))}."


def _timing(bus: BusConfig) -> Iterator[str]:
    path, outbox = f"EVENTBUS[{bus.alias!r}]", bus.outbox
    raw = producer_config(bus, client_id="check")["message.timeout.ms"]
    try:
        timeout = timedelta(milliseconds=int(raw))
    except (TypeError, ValueError):
        yield f"{path}['PRODUCER_OPTIONS']['message.timeout.ms'] is {raw!r}: give milliseconds as a number."
        return
    if not outbox.send_deadline < timeout < outbox.grace:
        yield (
            f"{path}['PRODUCER_OPTIONS']['message.timeout.ms'] ({timeout}) must lie between OUTBOX['SEND_DEADLINE'] "
            f"({outbox.send_deadline}) and OUTBOX['GRACE'] ({outbox.grace}): else a replaced relay could still "
            f"send, or rows would fail that only waited. Remove it to get {default_message_timeout(bus)}."
        )


def _sizes(bus: BusConfig) -> Iterator[str]:
    limit = producer_config(bus, client_id="check")["message.max.bytes"]
    if str(limit).isdigit() and bus.outbox.max_event_bytes + FRAMING > int(limit):
        yield (
            f"EVENTBUS[{bus.alias!r}]['OUTBOX']['MAX_EVENT_BYTES'] ({bus.outbox.max_event_bytes}) leaves less than "
            f"{FRAMING} bytes of PRODUCER_OPTIONS['message.max.bytes'] ({limit}) for what Kafka adds: such events "
            "could never be sent. Lower it, or raise both this option and the topic's max.message.bytes."
        )


def _chosen(bus: BusConfig) -> Iterator[tuple[str, str, Any]]:
    sections = {
        "OPTIONS": bus.options,
        "PRODUCER_OPTIONS": bus.producer_options,
        "CONSUMER_OPTIONS": bus.consumer_options,
    }
    for section, options in sections.items():
        for name, value in options.items():
            yield section, name, value


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {_ALIASES.get(name, name): value for name, value in options.items()}


def _without_ours(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OURS}


def _equals(value: Any) -> set[str]:
    return {"all", "-1"} if value == "all" else {_text(value), "1" if value is True else "0" if value is False else ""}


def _text(value: Any) -> str:
    return str(value).strip().lower()
