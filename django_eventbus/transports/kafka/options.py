"""Which options would librdkafka refuse, by name or by value?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

# Options are set one after the other before a client exists. One that nobody knows, set last, ends this in any case: so
# asking neither starts a thread nor contacts a broker.
_LAST = "eventbus.last.option"


def producer_refusals(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that no producer takes, each with librdkafka's reason."""
    return _refusals(Producer, {}, options)


def consumer_refusals(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that no consumer takes, each with librdkafka's reason."""
    return _refusals(Consumer, {"group.id": "check"}, options)


def _refusals(client: Callable[..., object], base: dict[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    found = {name: _reason(client, base | {name: value, _LAST: ""}) for name, value in options.items()}
    return {name: reason for name, reason in found.items() if _LAST not in reason}


def _reason(client: Callable[..., object], config: dict[str, Any]) -> str:
    try:
        client(config)
    except KafkaException as exc:
        return str(exc.args[0].str()).strip()
    except (TypeError, ValueError) as exc:
        return str(exc)
    raise AssertionError(f"librdkafka knows {_LAST!r}")
