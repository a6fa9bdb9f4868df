"""What do the single steps of a publish and of a receive cost, in one process without servers?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django
import msgspec
import pyperf


def main() -> int:
    """Time each step in fresh interpreters; pyperf prints the means with their spread."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    sys.argv = ["benchmarks.micro", *(sys.argv[1:] if "--worker" in sys.argv else ["--fast", "--quiet"])]
    runner = pyperf.Runner(program_args=("-m", "benchmarks.micro"))
    for name, step in steps().items():
        runner.bench_func(name, step)
    return 0


def steps() -> dict[str, Callable[[], Any]]:
    from django_eventbus.bus import buses
    from django_eventbus.events.cloudevents import from_record, to_headers
    from django_eventbus.events.envelope import Envelope, join_headers, split_headers
    from django_eventbus.events.identifiers import uuid7
    from django_eventbus.events.keys import shard_of
    from django_eventbus.events.registry import events
    from django_eventbus.models.inbox import inbox_key
    from django_eventbus.models.retry import lane_of
    from django_eventbus.outbox.composition import Composer
    from django_eventbus.transports.base import Record

    from .shop.events import OrderPlaced, order_placed

    config = buses["default"].config
    event, now = order_placed(1), datetime.now(UTC)
    contract = events.contract_of(event)
    message_id = str(uuid7())
    data = contract.codec.encode(event)
    envelope = Envelope(
        message_id=message_id,
        event_name=contract.name,
        event_version=contract.version,
        source=config.source,
        topic="bench.orders",
        key=b"order-0001",
        data=data,
        published_at=now,
        correlation_id=message_id,
    )
    headers = to_headers(envelope)
    text = join_headers(headers)
    raw = [(name, value.encode()) for name, value in headers]
    record = Record("bench.orders", 0, 1, b"order-0001", data, raw, now)
    return {
        "make an event": lambda: order_placed(1),
        "encode and validate": lambda: contract.codec.encode(event),
        "encode with msgspec alone": lambda: msgspec.json.encode(event),
        "key": lambda: contract.key(event, config),
        "shard": lambda: shard_of(b"order-0001"),
        "uuid7": uuid7,
        "to_headers": lambda: to_headers(envelope),
        "split_headers": lambda: split_headers(text),
        "a whole message, first of a publish": lambda: Composer(config, bus=1, key=None, headers=None).compose(
            event, event_id=None
        ),
        "from_record": lambda: from_record(record),
        "decode": lambda: events.decode(contract.name, contract.version, data, into=OrderPlaced),
        "inbox_key": lambda: inbox_key("shop.record", config.source, message_id),
        "lane_of": lambda: lane_of("bench", "shop.record", "bench.orders", b"order-0001"),
    }


if __name__ == "__main__":
    sys.exit(main())
