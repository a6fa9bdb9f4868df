"""Publish events in the transaction that caused them; have each handler apply their effects once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bus import apublish, apublish_many, buses, cancel, publish, publish_many, reschedule
    from .delivery.context import MessageContext
    from .delivery.registry import handler
    from .delivery.retry import RetryPolicy
    from .delivery.stateful import stateful_handler
    from .delivery.translation import translates
    from .events.contract import AwareDatetime, PartitionKey, event, external_event
    from .events.domain import domain_event
    from .events.registry import upcaster
    from .exceptions import (
        ConfigurationError,
        ContractError,
        EventBusError,
        EventInvalid,
        EventTooLarge,
        NotAnEvent,
        NotPublishable,
        Reject,
        RetryAfter,
        TransactionRequired,
    )
    from .models.saga import SagaModel
    from .outbox.context import current_context, message_context
    from .recording import RecordsEvents
    from .recurrence.registry import recurring
    from .sagas.routing import not_found, on, on_timeout, starts, starts_or_on
    from .sagas.saga import Saga

__all__ = [
    "AwareDatetime",
    "ConfigurationError",
    "ContractError",
    "EventBusError",
    "EventInvalid",
    "EventTooLarge",
    "MessageContext",
    "NotAnEvent",
    "NotPublishable",
    "PartitionKey",
    "RecordsEvents",
    "Reject",
    "RetryAfter",
    "RetryPolicy",
    "Saga",
    "SagaModel",
    "TransactionRequired",
    "apublish",
    "apublish_many",
    "buses",
    "cancel",
    "current_context",
    "domain_event",
    "event",
    "external_event",
    "handler",
    "message_context",
    "not_found",
    "on",
    "on_timeout",
    "publish",
    "publish_many",
    "recurring",
    "reschedule",
    "starts",
    "starts_or_on",
    "stateful_handler",
    "translates",
    "upcaster",
]

# Loaded on first use: importing the package must work before settings and apps are ready.
_HOMES = {
    "bus": ("apublish", "apublish_many", "buses", "cancel", "publish", "publish_many", "reschedule"),
    "delivery.context": ("MessageContext",),
    "delivery.registry": ("handler",),
    "delivery.retry": ("RetryPolicy",),
    "delivery.stateful": ("stateful_handler",),
    "delivery.translation": ("translates",),
    "events.contract": ("AwareDatetime", "PartitionKey", "event", "external_event"),
    "events.domain": ("domain_event",),
    "events.registry": ("upcaster",),
    "models.saga": ("SagaModel",),
    "outbox.context": ("current_context", "message_context"),
    "recording": ("RecordsEvents",),
    "recurrence.registry": ("recurring",),
    "sagas.routing": ("not_found", "on", "on_timeout", "starts", "starts_or_on"),
    "sagas.saga": ("Saga",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOME_OF.get(name, 'exceptions')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
