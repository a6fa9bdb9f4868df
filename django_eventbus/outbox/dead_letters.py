"""What does a dead letter say about a message that could never be sent?"""

from __future__ import annotations

from django_eventbus.events.cloudevents import from_record
from django_eventbus.events.envelope import Envelope, OutgoingRow, saga_of
from django_eventbus.exceptions import Undecodable
from django_eventbus.models.dead_letter import pack_headers
from django_eventbus.models.relay_dead import DeadRow
from django_eventbus.transports.local import record_of


def envelope_of(row: OutgoingRow) -> Envelope | None:
    """Read an outbox row as the record that it would have become; None where somebody wrote it by hand."""
    try:
        return from_record(record_of(row))
    except (Undecodable, ValueError):
        return None


def describe(row: OutgoingRow, *, envelope: Envelope | None) -> DeadRow:
    """Collect what the dead letter's columns say beyond those of the outbox."""
    try:
        headers = pack_headers(record_of(row).headers)
    except ValueError:
        headers = pack_headers([("unreadable", row[3].encode())])
    if envelope is None:
        return DeadRow(row[0], headers, "", "", "", "", "", "")
    return DeadRow(
        row[0],
        headers,
        envelope.event_version,
        envelope.source,
        envelope.correlation_id or "",
        envelope.tenant_id or "",
        *saga_of(envelope),
    )
