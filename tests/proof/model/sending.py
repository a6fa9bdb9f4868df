"""How do events get from writers through the outbox and the relays into the log?"""

from __future__ import annotations

from collections.abc import Iterator

from tests.proof.model.state import Relay, State
from tests.proof.model.steps import Label, Successors, transition

LIMIT = 2  # rows of a read


def spend(state: State, fault: str) -> State | None:
    """Take one fault from the budget; None where it is spent."""
    left = getattr(state.budget, fault)
    return state._replace(budget=state.budget._replace(**{fault: left - 1})) if left else None


def changed(state: State, number: int, relay: Relay) -> State:
    return state._replace(relays=(*state.relays[:number], relay, *state.relays[number + 1 :]))


@transition("django_eventbus.outbox.publisher.publish", "django_eventbus.models.outbox.OutboxQuerySet.append")
def publish(state: State) -> Successors:
    """Take an id from the sequence, in a transaction that holds its key's row."""
    busy = {writer.key for writer in state.writers if writer.is_open}
    for number, writer in enumerate(state.writers):
        if writer.is_open or writer.ended or writer.key in busy:
            continue
        busy.add(writer.key)  # writers of one key come in their order
        new = writer._replace(id=state.last_id + 1, is_open=True)
        yield Label("publish", number), _written(state, number, new, last_id=state.last_id + 1)


@transition()
def commit(state: State) -> Successors:
    """Let the caller's transaction commit."""
    for number, writer in enumerate(state.writers):
        if writer.is_open:
            new = writer._replace(is_open=False, ended="committed")
            yield Label("commit", number), _written(state, number, new, outbox=state.outbox | {writer.id})


@transition(is_fault=True)
def roll_back(state: State) -> Successors:
    """Let the caller's transaction roll back."""
    for number, writer in enumerate(state.writers):
        if writer.is_open and (spent := spend(state, "rollbacks")):
            new = writer._replace(is_open=False, ended="rolled back")
            yield Label("roll_back", number), _written(spent, number, new)


def _written(state: State, number: int, writer: object, **changes: object) -> State:
    writers = (*state.writers[:number], writer, *state.writers[number + 1 :])
    return state._replace(writers=writers, **changes)  # type: ignore[arg-type]


@transition("django_eventbus.models.relay.RelaySession.begin")
def begin(state: State) -> Successors:
    """Begin a step and take the locks; nobody else may hold them."""
    if any(relay.has_begun and not relay.is_evicted for relay in state.relays):
        return
    for number, relay in enumerate(state.relays):
        if not relay.has_begun:
            yield Label("begin", number), changed(state, number, relay._replace(has_begun=True))


@transition("django_eventbus.outbox.reader.WindowReader._look", "django_eventbus.outbox.window.Candidate")
def look(state: State) -> Successors:
    """See who writes: an id is safe once all have ended who were writing when it was the newest."""
    for number, relay in enumerate(state.relays):
        if not state.is_looking or relay.lanes is None or relay.probe or relay.is_evicted or relay.has_read:
            continue
        writing = tuple(writer.id for writer in state.writers if writer.is_open)
        if relay.candidate is None:
            last, before = state.last_id, writing
        else:
            last, before = relay.candidate[0], tuple(id_ for id_ in relay.candidate[1] if id_ in writing)
        new = relay._replace(candidate=None, safe=last) if not before else relay._replace(candidate=(last, before))
        if new != relay:
            yield Label("look", number), changed(state, number, new)


@transition(
    "django_eventbus.models.relay_lanes.RelayLanes.waiting", "django_eventbus.models.relay_lanes.RelayLanes.read"
)
def read_lanes(state: State) -> Successors:
    """Read which keys wait, and the first event of each."""
    for number, relay in enumerate(state.relays):
        if not relay.has_begun or relay.is_evicted or relay.lanes is not None:
            continue
        heads = {state.key_of(id_): id_ for id_ in reversed(state.parked)}
        new = relay._replace(lanes=state.lanes, probe=tuple(sorted(heads.values())))
        yield Label("read_lanes", number), changed(state, number, new)


@transition("django_eventbus.outbox.reader.WindowReader.read", "django_eventbus.outbox.parking.Aside.divide")
def read(state: State) -> Successors:
    """Read the next rows above the floor."""
    for number, relay in enumerate(state.relays):
        if relay.lanes is None or relay.probe or relay.is_evicted or relay.has_read:
            continue
        rows = tuple(sorted(id_ for id_ in state.outbox if id_ > relay.floor))[:LIMIT]
        new = relay._replace(
            has_read=True,
            safe_at_read=relay.safe,
            first=rows[0] if rows else 0,
            batch=tuple(id_ for id_ in rows if state.key_of(id_) not in relay.lanes),
            aside=tuple(id_ for id_ in rows if state.key_of(id_) in relay.lanes),
        )
        yield Label("read", number), changed(state, number, new)


def _next(relay: Relay) -> Iterator[tuple[int, Relay]]:
    if relay.probe:
        yield relay.probe[0], relay._replace(probe=relay.probe[1:])
    elif relay.batch:
        yield relay.batch[0], relay._replace(batch=relay.batch[1:])


@transition("django_eventbus.transports.base.Sender.send", "django_eventbus.transports.kafka.sender.KafkaSender.send")
def send(state: State) -> Successors:
    """Append one record; an evicted relay still sends what its client has queued."""
    for number, relay in enumerate(state.relays):
        for id_, rest in _next(relay):
            if id_ in state.unsendable:
                continue
            new = rest._replace(acked=(*relay.acked, id_))
            yield Label("send", number, f"{id_}"), changed(state._replace(log=(*state.log, id_)), number, new)


@transition("django_eventbus.outbox.parking.Findings.of", is_fault=True)
def do_not_send(state: State) -> Successors:
    """Let the broker be away, refuse a record for ever, or not take it now."""
    for number, relay in enumerate(state.relays):
        for id_, rest in _next(relay):
            if spent := spend(state, "outages"):
                new = relay._replace(probe=()) if relay.probe else relay._replace(batch=())
                yield Label("do_not_send", number, "outage"), changed(spent, number, new)
            if spent := spend(state, "refusals"):
                spent = spent._replace(unsendable=state.unsendable | {id_})
                new = _without_key_of(state, id_, rest)._replace(refused=(*relay.refused, id_))
                yield Label("do_not_send", number, f"refused {id_}"), changed(spent, number, new)
            if id_ in relay.batch and (spent := spend(state, "troubles")):
                new = _without_key_of(state, id_, rest)._replace(troubled=(*relay.troubled, id_))
                yield Label("do_not_send", number, f"trouble {id_}"), changed(spent, number, new)


def _without_key_of(state: State, id_: int, relay: Relay) -> Relay:
    """Hold back the later ones of a key: a sender acknowledges none around one that is not."""
    return relay._replace(batch=tuple(one for one in relay.batch if state.key_of(one) != state.key_of(id_)))


@transition("django_eventbus.transports.kafka.errors.kind_of")
def refuse_again(state: State) -> Successors:
    """Refuse what was refused before, whoever sends it."""
    for number, relay in enumerate(state.relays):
        for id_, rest in _next(relay):
            if id_ in state.unsendable:
                new = _without_key_of(state, id_, rest)._replace(refused=(*relay.refused, id_))
                yield Label("refuse_again", number, str(id_)), changed(state, number, new)


@transition("django_eventbus.outbox.settling.Settlement.settle", "django_eventbus.models.relay.RelaySession.commit")
def settle(state: State) -> Successors:
    """Delete what is acknowledged, bury what is refused, park what has to wait, and learn; all in one commit."""
    for number, relay in enumerate(state.relays):
        if not relay.has_read or relay.probe or relay.batch:
            continue
        if relay.is_evicted:
            yield Label("settle", number, "in vain"), changed(state, number, Relay())
            continue
        gone = {*relay.acked, *relay.refused}
        found = {state.key_of(id_) for id_ in state.parked}
        closed = {key for key in relay.lanes or "" if key not in found}
        joined = {id_ for id_ in relay.aside if state.key_of(id_) not in closed}
        parked = {*state.parked, *relay.troubled, *joined} - gone
        lanes = {*state.lanes} - closed | {state.key_of(id_) for id_ in relay.troubled}
        floor = min(relay.safe_at_read, relay.first - 1) if relay.first else relay.safe_at_read
        learned = Relay(candidate=relay.candidate, safe=relay.safe, floor=max(relay.floor, floor))
        after = state._replace(
            outbox=state.outbox - gone - parked,
            lanes="".join(sorted(lanes)),
            parked=tuple(sorted(parked)),
            buried=state.buried | set(relay.refused),
        )
        yield Label("settle", number), changed(after, number, learned)


@transition("django_eventbus.models.relay.RelaySession.evict_overdue", is_fault=True)
def evict_relay(state: State) -> Successors:
    """End the session of a relay that holds the locks: its transaction is undone, its client is not."""
    for number, relay in enumerate(state.relays):
        if relay.has_begun and not relay.is_evicted and (spent := spend(state, "evictions")):
            yield Label("evict_relay", number), changed(spent, number, relay._replace(is_evicted=True))


@transition(is_fault=True)
def kill_relay(state: State) -> Successors:
    """Kill a relay; another one takes its place at once."""
    for number, relay in enumerate(state.relays):
        if relay != Relay() and (spent := spend(state, "crashes")):
            yield Label("kill_relay", number), changed(spent, number, Relay())


@transition("django_eventbus.outbox.relay.Relay._turn")
def notice_eviction(state: State) -> Successors:
    """Find the session gone before anything was read."""
    for number, relay in enumerate(state.relays):
        if relay.is_evicted and not relay.has_read and not relay.probe:
            yield Label("notice_eviction", number), changed(state, number, Relay())


SENDING = (publish, commit, roll_back, begin, read_lanes, look, read, send, do_not_send, refuse_again, settle,
           evict_relay, kill_relay, notice_eviction)  # fmt: skip
