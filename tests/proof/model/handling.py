"""How do records get from the log to the handlers, once each and in order?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.proof.model.sending import spend
from tests.proof.model.state import Consumer, Handler, State, Unit, Waiting
from tests.proof.model.steps import Label, Successors, transition

MOST_ATTEMPTS = 2


def changed(state: State, number: int, consumer: Consumer) -> State:
    return state._replace(consumers=(*state.consumers[:number], consumer, *state.consumers[number + 1 :]))


def units(state: State) -> Iterator[tuple[int, Consumer, Unit]]:
    for number, consumer in enumerate(state.consumers):
        if consumer.unit is not None:
            yield number, consumer, consumer.unit


def is_locked(state: State) -> bool:
    """Say whether a unit holds the partition's lock shared."""
    return any(unit.is_open and not unit.is_evicted for _, _, unit in units(state))


def is_being_taken(state: State, event: int) -> bool:
    """Say whether an open unit has put a message into the inbox: who else tries waits for its end, fenced or not."""
    return any(
        unit.event == event and unit.is_open and not unit.is_evicted and not unit.is_retry and any(unit.fresh)
        for _, _, unit in units(state)
    )


@transition("django_eventbus.consumer.worker.Worker.assigned")
def assign(state: State) -> Successors:
    """Let the broker give the partition to a member."""
    if state.owner is None:
        for number, consumer in enumerate(state.consumers):
            if not consumer.is_assigned:
                new = Consumer(is_assigned=True)
                yield Label("assign", number), changed(state._replace(owner=number), number, new)


@transition(
    "django_eventbus.consumer.ownership.Ownership._take",
    "django_eventbus.models.partition.PartitionQuerySet.raise_epoch",
    "django_eventbus.models.retry.RetryQuerySet.heal",
    "django_eventbus.consumer.starting.start_of",
)
def take(state: State) -> Successors:
    """Raise the epoch once no unit holds the partition, and begin where the group got to."""
    if is_locked(state):
        return
    for number, consumer in enumerate(state.consumers):
        if consumer.is_assigned and not consumer.epoch and (state.owner == number or not consumer.was_fenced):
            new = Consumer(is_assigned=True, epoch=state.epoch + 1, position=state.committed, done=state.committed)
            yield Label("take", number), changed(state._replace(epoch=state.epoch + 1), number, new)


@transition("django_eventbus.consumer.worker.Worker._receive")
def poll(state: State) -> Successors:
    """Receive the next record."""
    for number, consumer in enumerate(state.consumers):
        if consumer.epoch and consumer.unit is None and consumer.position < len(state.log):
            new = consumer._replace(unit=Unit(event=state.log[consumer.position]), position=consumer.position + 1)
            yield Label("poll", number), changed(state, number, new)


@transition(
    "django_eventbus.models.unit.open_unit",
    "django_eventbus.consumer.arrivals.open_fenced",
    "django_eventbus.consumer.arrivals.Arrivals._is_duplicate",
)
def open_unit(state: State) -> Successors:
    """Lock, compare epochs, and take the message into the inbox: the first round trip of a unit."""
    for number, consumer, unit in units(state):
        if unit.is_open or unit.has_committed or unit.is_retry or is_being_taken(state, unit.event):
            continue
        if consumer.epoch != state.epoch:
            yield Label("open_unit", number, "fenced"), changed(state, number, fenced(consumer))
            continue
        fresh = tuple(unit.event not in handler.inbox for handler in state.handlers)
        new = consumer._replace(unit=unit._replace(is_open=True, fresh=fresh))
        yield Label("open_unit", number), changed(state, number, new)


@transition("django_eventbus.consumer.retries.Retries.open", "django_eventbus.models.retry.RetryQuerySet.first_of")
def open_retry(state: State) -> Successors:
    """Lock, compare epochs, and read the first row of a lane that is due."""
    for number, consumer in enumerate(state.consumers):
        unit = consumer.unit
        is_again = unit is not None and unit.is_retry and not unit.is_open  # its last try was undone
        heads = _due_heads(state)
        if not consumer.epoch or not (is_again or (unit is None and heads)):
            continue
        if consumer.epoch != state.epoch:
            yield Label("open_retry", number, "fenced"), changed(state, number, fenced(consumer))
        elif not heads:
            yield Label("open_retry", number, "nothing"), changed(state, number, consumer._replace(unit=None))
        else:
            for event in heads:
                opened = consumer._replace(unit=Unit(event=event, is_retry=True, is_open=True))
                yield Label("open_retry", number, str(event)), changed(state, number, opened)


def _due_heads(state: State) -> list[int]:
    """Return the first event of each lane in which something is due."""
    rows = state.handlers[0].waiting
    due = {state.key_of(row.event) for row in rows if row.is_due}
    heads = {state.key_of(row.event): row.event for row in reversed(rows)}
    return [heads[key] for key in sorted(due)]


@transition("django_eventbus.consumer.running.run_each", "django_eventbus.delivery.running.run")
def run(state: State) -> Successors:
    """Run the handlers; each either does its work or fails."""
    for number, consumer, unit in units(state):
        if not unit.is_open or unit.results:
            continue
        for results in product(*_possible(state, unit)):
            after: State | None = state
            if "failed" in results:
                after = spend(state, "failures")
            if after is not None:
                new = consumer._replace(unit=unit._replace(results=results))
                yield Label("run", number, " ".join(results)), changed(after, number, new)


def _possible(state: State, unit: Unit) -> Iterator[tuple[str, ...]]:
    if unit.is_retry:
        yield ("handled", "failed")
        return
    for number, handler in enumerate(state.handlers):
        if not unit.fresh[number]:
            yield ("duplicate",)
        elif any(_same_key(state, row.event, unit.event) for row in handler.waiting):
            yield ("behind",)
        else:
            yield ("handled", "failed") if number == 0 else ("handled",)


@transition("django_eventbus.consumer.unit.Unit._commit")
def commit_unit(state: State) -> Successors:
    """Commit inbox, effects, retries and dead letters together."""
    for number, consumer, unit in units(state):
        if not unit.is_open or not unit.results:
            continue
        if unit.is_evicted:
            # The partition is looked at again: an epoch that was raised is found with the next unit.
            new = consumer._replace(unit=Unit(event=unit.event, is_retry=unit.is_retry))
            yield Label("commit_unit", number, "in vain"), changed(state, number, new)
            continue
        handlers = tuple(
            _concluded(state, handler, unit, unit.results[index]) if index < len(unit.results) else handler
            for index, handler in enumerate(state.handlers)
        )
        rest = None if unit.is_retry else Unit(event=unit.event, has_committed=True)
        new = consumer._replace(unit=rest)
        yield Label("commit_unit", number), changed(state._replace(handlers=handlers), number, new)


def _concluded(state: State, handler: Handler, unit: Unit, result: str) -> Handler:
    event = unit.event
    if result == "duplicate":
        return handler
    handler = handler._replace(inbox=handler.inbox | {event})
    mine = [row for row in handler.waiting if row.event == event]
    attempts = mine[0].attempts if mine else 0
    others = tuple(row for row in handler.waiting if row.event != event)
    if result == "behind":
        return _queued(handler, Waiting(event, 0, is_due=False))
    if result == "handled":
        done = handler._replace(effects=(*handler.effects, event), waiting=others)
        return done._replace(waiting=_promoted(state, others, event))
    counted = dict(handler.failures)
    counted[event] = counted.get(event, 0) + 1
    handler = handler._replace(failures=tuple(sorted(counted.items())))
    if attempts + 1 < MOST_ATTEMPTS:
        return _queued(handler._replace(waiting=others), Waiting(event, attempts + 1, is_due=True))
    dead = handler._replace(dead=handler.dead | {event}, was_dead=handler.was_dead | {event})
    return dead._replace(waiting=_promoted(state, others, event))


def _queued(handler: Handler, row: Waiting) -> Handler:
    return handler._replace(waiting=tuple(sorted((*handler.waiting, row))))


def _promoted(state: State, rows: tuple[Waiting, ...], event: int) -> tuple[Waiting, ...]:
    """Give the first row of a lane its time."""
    first = next((row for row in rows if _same_key(state, row.event, event)), None)
    return tuple(row._replace(is_due=True) if row is first else row for row in rows)


@transition("django_eventbus.consumer.worker.Worker._reap", "django_eventbus.consumer.worker.Worker._store")
def store(state: State) -> Successors:
    """Store the offset of what is committed; the broker ignores who is no longer the owner."""
    for number, consumer, unit in units(state):
        if unit.has_committed:
            new = changed(state, number, consumer._replace(unit=None, done=consumer.position))
            if state.owner == number:
                new = new._replace(committed=consumer.position)
            yield Label("store", number), new


@transition("django_eventbus.consumer.worker.Worker._lose", "django_eventbus.consumer.worker.Worker.lost")
def notice_loss(state: State) -> Successors:
    """Hear from the broker that the partition is somebody else's."""
    for number, consumer in enumerate(state.consumers):
        if consumer.is_assigned and state.owner != number and consumer.unit is None:
            yield Label("notice_loss", number), changed(state, number, Consumer())


@transition(is_fault=True)
def expel(state: State) -> Successors:
    """Let the broker give up a member that lives: it was frozen, or cut off."""
    if state.owner is not None and (spent := spend(state, "expulsions")):
        yield Label("expel", state.owner), spent._replace(owner=None)


@transition("django_eventbus.models.partition.PartitionQuerySet.evict", is_fault=True)
def evict_unit(state: State) -> Successors:
    """End the session of a unit that holds the lock: what it did is undone."""
    for number, consumer, unit in units(state):
        if unit.is_open and not unit.is_evicted and (spent := spend(state, "evictions")):
            new = consumer._replace(unit=unit._replace(is_evicted=True))
            yield Label("evict_unit", number), changed(spent, number, new)


@transition(is_fault=True)
def kill_consumer(state: State) -> Successors:
    """Kill a consumer; the broker notices when its session ends."""
    for number, consumer in enumerate(state.consumers):
        if consumer.is_assigned and (spent := spend(state, "crashes")):
            owner = None if state.owner == number else state.owner
            yield Label("kill_consumer", number), changed(spent._replace(owner=owner), number, Consumer())


@transition("django_eventbus.delivery.replay.replay", "django_eventbus.models.dead_letter.DeadLetterQuerySet.revive")
def replay(state: State) -> Successors:
    """Put a dead letter back into its place in the lane."""
    handler = state.handlers[0] if state.handlers else Handler()
    for event in sorted(handler.dead):
        if spent := spend(state, "replays"):
            failures = tuple(pair for pair in handler.failures if pair[0] != event)
            back = handler._replace(dead=handler.dead - {event}, failures=failures)
            back = _queued(back, Waiting(event, 0, is_due=True))
            yield Label("replay", 0, str(event)), spent._replace(handlers=(back, *state.handlers[1:]))


def fenced(consumer: Consumer) -> Consumer:
    """Drop what is in memory; the partition is taken again where it is still assigned."""
    return Consumer(is_assigned=consumer.is_assigned, was_fenced=True)


def _same_key(state: State, one: int, other: int) -> bool:
    return state.key_of(one) == state.key_of(other)


HANDLING = (assign, take, poll, open_unit, open_retry, run, commit_unit, store, notice_loss, expel, evict_unit,
            kill_consumer, replay)  # fmt: skip
