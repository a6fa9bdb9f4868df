"""What can go wrong, as the classes that a caller would catch."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import TransactionManagementError


class EventBusError(Exception):
    """Be the base of every error that this app raises on purpose."""


class ConfigurationError(EventBusError, ImproperlyConfigured):
    """A setting is unknown, of the wrong type, or missing; the message names its path."""


class ContractError(EventBusError, TypeError):
    """An event class or a handler is declared in a way that cannot work."""


class NotAnEvent(EventBusError, TypeError):
    """The object was not made by `@event`."""


class NotPublishable(EventBusError):
    """The event belongs to another service (`@external_event`), or no relay would ever send it."""


class EventInvalid(EventBusError, ValueError):
    """Field values do not fit the declared types; `errors` lists every one of them."""

    def __init__(self, message: str, *, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class EventTooLarge(EventBusError, ValueError):
    """The serialised event exceeds `OUTBOX['MAX_EVENT_BYTES']`."""


class TransactionRequired(EventBusError, TransactionManagementError):
    """`publish()` was called where change and event would not commit together."""


class TransportUnavailable(EventBusError):
    """The broker cannot be reached or refuses this client; nothing is lost, try again later."""


class UndecodableReason(StrEnum):
    """Why a record could not be understood; stored with its dead letter."""

    NOT_CLOUDEVENT = "not_cloudevent"
    BAD_SPECVERSION = "bad_specversion"
    MISSING_ATTRIBUTE = "missing_attribute"
    BAD_ATTRIBUTE = "bad_attribute"
    BAD_ENCODING = "bad_encoding"
    DUPLICATE_HEADER = "duplicate_header"
    INVALID_JSON = "invalid_json"
    INVALID_DATA = "invalid_data"
    MISSING_UPCASTER = "missing_upcaster"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    TOO_DEEP = "too_deep"


class Undecodable(EventBusError):
    """A record cannot be turned into an event; it becomes a dead letter with its exact bytes."""

    def __init__(self, reason: UndecodableReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Reject(EventBusError):
    """Raise in a handler to dead-letter the message now, without further attempts."""


class RetryAfter(EventBusError):
    """Raise in a handler to be run again after `delay` (seconds or timedelta); counts as an attempt."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        self.delay = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        super().__init__(reason or f"retry after {self.delay.total_seconds():g} s")


class RetryAside(EventBusError):
    """Raise in a handler to be run again by its policy while later messages of the key go on: it came too early."""
