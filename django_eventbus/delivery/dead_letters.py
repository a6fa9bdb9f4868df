"""How does a message that ended become a row that an operator sees?"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from django_eventbus import signals
from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import Envelope, saga_of
from django_eventbus.events.registry import events
from django_eventbus.models import DeadLetter
from django_eventbus.models.dead_letter import DeadLetterReason, NewDeadLetter, pack_headers
from django_eventbus.models.retry import type_name
from django_eventbus.models.text import LONGEST_MESSAGE, LONGEST_NAME, LONGEST_TRACEBACK, storable
from django_eventbus.transports.base import Record

from .deliveries import Broken, Delivery, saga_key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """Say which message ended, where it belongs, and why."""

    record: Record
    envelope: Envelope | None  # None where the record could not be read
    group: str
    handler: str  # stored name; empty: it reached no handler
    partition_id: int  # PartitionEpoch row
    inbox_key: UUID
    lane: UUID
    reason: DeadLetterReason
    error: BaseException | str
    attempts: int = 0
    first_failed_at: datetime | None = None
    saga_key: str = ""  # of the instance, where the handler is a saga

    @classmethod
    def of_delivery(
        cls,
        delivery: Delivery,
        *,
        partition_id: int,
        reason: DeadLetterReason,
        error: BaseException | str,
        first_failed_at: datetime | None = None,
    ) -> Burial:
        """Bury one message for one handler, after its last attempt."""
        return cls(
            record=delivery.record,
            envelope=delivery.envelope,
            group=delivery.group,
            handler=delivery.handler.name,
            partition_id=partition_id,
            inbox_key=delivery.inbox_key,
            lane=delivery.lane,
            reason=reason,
            error=error,
            attempts=delivery.attempt,
            first_failed_at=first_failed_at,
            saga_key=saga_key_of(delivery),
        )

    @classmethod
    def of_broken(cls, broken: Broken, *, group: str, partition_id: int) -> Burial:
        """Bury a record that no handler can get."""
        return cls(
            record=broken.record,
            envelope=broken.envelope,
            group=group,
            handler="",
            partition_id=partition_id,
            inbox_key=broken.inbox_key,
            lane=broken.inbox_key,
            reason=broken.reason,
            error=broken.error,
        )


def bury(burials: Sequence[Burial], *, config: BusConfig, using: str) -> Mapping[UUID, int]:
    """Write dead letters in the caller's transaction and return their ids by inbox key; tell receivers after commit."""
    if not burials:
        return {}
    ids = DeadLetter.objects.using(using).bury([_letter(burial, config) for burial in burials])
    # A plain function, no partial: Django asks a robust hook that raises for its __qualname__.
    transaction.on_commit(lambda: _announce(burials, ids), using=using, robust=True)
    return ids


def _letter(burial: Burial, config: BusConfig) -> NewDeadLetter:
    record, envelope, error = burial.record, burial.envelope, burial.error
    exception = error if isinstance(error, BaseException) else None
    return NewDeadLetter(
        reason=burial.reason,
        bus=config.alias,
        group=burial.group,
        handler=burial.handler,
        **_described(envelope),
        topic=record.topic,
        partition_id=burial.partition_id,
        partition_number=record.partition,
        position=record.offset,
        lane=burial.lane,
        inbox_key=burial.inbox_key,
        key=record.key,
        headers=pack_headers(record.headers),
        payload=record.value,
        exception_type=storable(type_name(exception), limit=LONGEST_NAME) if exception else "",
        exception_message=storable(str(error), limit=LONGEST_MESSAGE),
        traceback=_traceback(exception) if exception else "",
        attempts=burial.attempts,
        published_at=envelope.published_at if envelope else None,
        first_failed_at=burial.first_failed_at,
        **_linked(burial, config),
    )


def _linked(burial: Burial, config: BusConfig) -> dict[str, str]:
    """Name the saga that the message was for, or that published it; who else writes to the topic is not believed."""
    saga, key = burial.handler, burial.saga_key
    if not key:
        envelope = burial.envelope
        saga, key = saga_of(envelope) if envelope and envelope.source == config.source else ("", "")
    return {
        "saga": storable(saga, limit=LONGEST_NAME) if key else "",
        "saga_key": storable(key, limit=LONGEST_NAME),
    }


def _described(envelope: Envelope | None) -> dict[str, str]:
    """Copy what operators filter by; the record's headers, kept whole, are what counts."""
    if envelope is None:
        return {}
    named = {
        "event_name": envelope.event_name,
        "event_version": envelope.event_version,
        "message_id": envelope.message_id,
        "source": envelope.source,
        "correlation_id": envelope.correlation_id or "",
        "tenant_id": envelope.tenant_id or "",
    }
    return {field: storable(text, limit=LONGEST_NAME) for field, text in named.items()}


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    # The end names the line that failed, the beginning only how the worker got there.
    return storable(text[-LONGEST_TRACEBACK:], limit=LONGEST_TRACEBACK)


def _announce(burials: Sequence[Burial], ids: Mapping[UUID, int]) -> None:
    for burial in burials:
        envelope = burial.envelope
        contract = events.find(envelope.event_name, envelope.event_version) if envelope else None
        signals.emit(
            signals.message_dead_lettered,
            contract.cls if contract else None,
            envelope=envelope,
            handler=burial.handler,
            group=burial.group,
            attempt=burial.attempts,
            error=burial.error,
            dead_letter_id=ids[burial.inbox_key],
        )
