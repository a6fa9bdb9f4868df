"""How does an operator send a dead letter on its way again, or give it up?

Who may do it is the caller's business; what was done, by whom and why is written down here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from django_eventbus import signals
from django_eventbus.conf import BusConfig, load
from django_eventbus.events.envelope import Envelope, join_headers
from django_eventbus.events.keys import shard_of
from django_eventbus.events.registry import events
from django_eventbus.models import ControlFlag, DeadLetter, OperatorAction, OutboxLane, OutboxMessage
from django_eventbus.models.dead_letter import DeadLetterStatus, Direction, unpack_headers
from django_eventbus.models.operator_action import OperatorActionKind, VerdictReport
from django_eventbus.models.outbox import NewMessage
from django_eventbus.models.retry import Verdict
from django_eventbus.outbox.wakeup import wake


def get(dead_letter_id: int, *, using: str) -> DeadLetter:
    """Return a dead letter with its bytes; raise DeadLetter.DoesNotExist."""
    return DeadLetter.objects.using(using).get(pk=dead_letter_id)


def replay(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Run dead letters again under their own ids: the failed handler alone, at the message's old place in its key.

    What could not be sent goes into the outbox again, at a new place: its old one is gone. One transaction; rows that
    are not dead are refused, so that a second click does nothing.
    """
    return _carry_out(OperatorActionKind.REPLAY, ids, actor, reason, using, command_id)


def discard(
    ids: Iterable[int], *, actor: str, reason: str = "", using: str, command_id: UUID | None = None
) -> VerdictReport:
    """Give dead letters up, and let go of the keys that wait for them; the rows stay, as `discarded`."""
    return _carry_out(OperatorActionKind.DISCARD, ids, actor, reason, using, command_id)


def _carry_out(
    kind: OperatorActionKind, ids: Iterable[int], actor: str, reason: str, using: str, command_id: UUID | None
) -> VerdictReport:
    wanted, command = list(dict.fromkeys(ids)), command_id or uuid4()
    with transaction.atomic(using=using):
        letters = DeadLetter.objects.using(using).lock_dead(wanted)
        refused = _refusals(kind, wanted, letters, using, command)
        accepted = [letter for letter in letters if letter.pk not in refused]
        _let_go_of_keys(accepted, using)
        match kind:
            case OperatorActionKind.REPLAY:
                _replay(accepted, using)
            case OperatorActionKind.DISCARD:
                _discard(accepted, using)
        done = tuple(letter.pk for letter in accepted)
        OperatorAction.objects.using(using).record(kind, done, command_id=command, actor=actor, reason=reason)
        if kind is OperatorActionKind.REPLAY:
            # A plain function, no partial: Django asks a robust hook that raises for its __qualname__.
            transaction.on_commit(lambda: _announce(accepted, actor, reason), using=using, robust=True)
    return VerdictReport(done=done, refused=refused)


def _refusals(
    kind: OperatorActionKind, wanted: Sequence[int], dead: Sequence[DeadLetter], using: str, command: UUID
) -> dict[int, str]:
    locked = {letter.pk for letter in dead}
    others = DeadLetter.objects.using(using).filter(pk__in=[number for number in wanted if number not in locked])
    statuses = dict(others.values_list("pk", "status"))
    refused = {number: statuses.get(number, "not found") for number in wanted if number not in locked}
    for number in OperatorAction.objects.using(using).already_taken(command, locked):
        refused[number] = "this very request was carried out before"
    buses = _buses() if kind is OperatorActionKind.REPLAY else {}
    for letter in dead:
        if kind is OperatorActionKind.REPLAY and letter.direction == Direction.OUT and letter.bus not in buses:
            refused[letter.pk] = f"bus {letter.bus!r} is no longer in EVENTBUS, so no relay would send it"
    return refused


def _let_go_of_keys(letters: Sequence[DeadLetter], using: str) -> None:
    """Let the relay go on with keys that wait for a verdict on what could not be sent."""
    for letter in letters:
        if letter.direction == Direction.OUT:
            bus = ControlFlag.objects.using(using).bus_number(letter.bus)
            OutboxLane.objects.using(using).release(bus, topic=letter.topic, key=bytes(letter.key or b""))


def _replay(letters: Sequence[DeadLetter], using: str) -> None:
    inbound = [letter.pk for letter in letters if letter.direction == Direction.IN]
    DeadLetter.objects.using(using).revive(inbound)
    outbound = [letter.pk for letter in letters if letter.direction == Direction.OUT]
    if outbound:
        _send_again(outbound, using)


def _send_again(ids: Sequence[int], using: str) -> None:
    letters = DeadLetter.objects.using(using).filter(pk__in=ids)
    buses, messages = _buses(), []
    for letter in letters.order_by("position", "id"):
        headers = [(name, (value or b"").decode()) for name, value in unpack_headers(bytes(letter.headers))]
        key = None if letter.key is None else bytes(letter.key)
        event_id = UUID(letter.message_id)
        messages.append(
            NewMessage(
                event_id=event_id,
                bus=ControlFlag.objects.using(using).bus_number(letter.bus),
                shard=shard_of(key or event_id.bytes),
                topic=letter.topic,
                key=key,
                headers=join_headers(headers),
                payload=bytes(letter.payload or b""),
                event_name=letter.event_name,
            )
        )
    OutboxMessage.objects.using(using).append(messages)
    # Nobody hears of the sending of one row: should it be refused again, its line goes back to dead.
    letters.update(status=DeadLetterStatus.REPLAYED)
    configs = [buses[alias] for alias in set(letters.values_list("bus", flat=True))]
    transaction.on_commit(lambda: _wake(configs, using), using=using, robust=True)


def _wake(configs: Iterable[BusConfig], using: str) -> None:
    for config in configs:
        wake(config, using)


def _discard(letters: Sequence[DeadLetter], using: str) -> None:
    rows = DeadLetter.objects.using(using)
    rows.release_held(letters, verdict=Verdict.DISCARD)
    rows.filter(pk__in=[letter.pk for letter in letters]).update(status=DeadLetterStatus.DISCARDED)


def _buses() -> Mapping[str, BusConfig]:
    configs = load(getattr(settings, "EVENTBUS", None)).values()
    return {queue.alias: queue for config in configs for queue in config.queues}


def _announce(letters: Iterable[DeadLetter], actor: str, reason: str) -> None:
    for letter in letters:
        contract = events.find(letter.event_name, letter.event_version)
        signals.emit(
            signals.dead_letter_replayed,
            contract.cls if contract else None,
            envelope=_envelope(letter),
            handler=letter.handler,
            dead_letter_id=letter.pk,
            operator=actor,
            reason=reason,
        )


def _envelope(letter: DeadLetter) -> Envelope:
    """Show receivers what the row says of its message; the bytes stay in the database."""
    return Envelope(
        message_id=letter.message_id,
        event_name=letter.event_name,
        event_version=letter.event_version,
        source=letter.source,
        topic=letter.topic,
        key=None if letter.key is None else bytes(letter.key),
        data=None,
        published_at=letter.published_at,
        correlation_id=letter.correlation_id or None,
        tenant_id=letter.tenant_id or None,
        partition=letter.partition_number,
        offset=letter.position,
    )
