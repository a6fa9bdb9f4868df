"""Known bugs of such systems: a model in which they break no guarantee would prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.proof.model import handling, sending
from tests.proof.model.exploring import PROTOCOL
from tests.proof.model.state import Consumer, State
from tests.proof.model.steps import Label, Step, Successors, Transition

Protocol = Mapping[str, Transition]


def with_step(**steps: Step) -> Protocol:
    """Return the protocol with other steps in the place of some."""
    return {**PROTOCOL, **{name: replace(PROTOCOL[name], step=step) for name, step in steps.items()}}


def offset_before_commit() -> Protocol:
    """Store an offset when its record comes."""

    def poll(state: State) -> Successors:
        for label, after in handling.poll.step(state):
            position = after.consumers[label.actor].position
            yield label, after._replace(committed=position) if state.owner == label.actor else after

    return with_step(poll=poll)


def floor_without_proof() -> Protocol:
    """Take the newest id for safe, whoever is still writing."""

    def look(state: State) -> Successors:
        for number, relay in enumerate(state.relays):
            if relay.lanes is not None and not relay.has_read and relay.safe != state.last_id:
                new = relay._replace(safe=state.last_id)
                yield Label("look", number), sending.changed(state, number, new)

    return with_step(look=look)


def no_fence() -> Protocol:
    """Take a partition without waiting, and never compare epochs."""

    def take(state: State) -> Successors:
        yield from handling.take.step(_without_units(state))

    def open_unit(state: State) -> Successors:
        for number, consumer, unit in handling.units(state):
            if unit.is_open or unit.has_committed or unit.is_retry or handling.is_being_taken(state, unit.event):
                continue
            fresh = tuple(unit.event not in handler.inbox for handler in state.handlers)
            new = consumer._replace(unit=unit._replace(is_open=True, fresh=fresh))
            yield Label("open_unit", number), handling.changed(state, number, new)

    def taking(state: State) -> Successors:
        for label, after in take(state):
            mine = after.consumers[label.actor]
            consumers = (*state.consumers[: label.actor], mine, *state.consumers[label.actor + 1 :])
            yield label, after._replace(consumers=consumers)

    return with_step(take=taking, open_unit=open_unit)


def inbox_after_handler() -> Protocol:
    """Commit what a handler did, and only then that it did it."""

    def commit_unit(state: State) -> Successors:
        for label, after in handling.commit_unit.step(state):
            unit = state.consumers[label.actor].unit
            assert unit is not None
            if unit.is_retry or unit.is_evicted or unit.results[:1] != ("handled",) or "inbox" in unit.results:
                yield label, after
                continue
            done = state.handlers[0]._replace(effects=(*state.handlers[0].effects, unit.event))
            later = unit._replace(results=("handled", "inbox"))
            consumer = state.consumers[label.actor]._replace(unit=later)
            yield label, handling.changed(state._replace(handlers=(done,)), label.actor, consumer)

    return with_step(commit_unit=_then_inbox(commit_unit))


def _then_inbox(step: Step) -> Step:
    def commit_unit(state: State) -> Successors:
        for label, after in step(state):
            unit = state.consumers[label.actor].unit
            if unit is not None and "inbox" in unit.results:
                kept = state.handlers[0]._replace(inbox=state.handlers[0].inbox | {unit.event})
                after = after._replace(handlers=(kept,))
            yield label, after

    return commit_unit


def delete_before_send() -> Protocol:
    """Delete rows when they are read."""

    def read(state: State) -> Successors:
        for label, after in sending.read.step(state):
            yield label, after._replace(outbox=after.outbox - set(after.relays[label.actor].batch))

    return with_step(read=read)


def no_lock() -> Protocol:
    """Let two relays work at the same time."""

    def begin(state: State) -> Successors:
        for number, relay in enumerate(state.relays):
            if not relay.has_begun:
                yield Label("begin", number), sending.changed(state, number, relay._replace(has_begun=True))

    return with_step(begin=begin)


def nobody_wakes_the_next() -> Protocol:
    """Forget to give the next row of a lane its time."""

    def commit_unit(state: State) -> Successors:
        for label, after in handling.commit_unit.step(state):
            before = {row.event: row.is_due for row in state.handlers[0].waiting}
            rows = tuple(row._replace(is_due=before.get(row.event, row.is_due)) for row in after.handlers[0].waiting)
            yield label, after._replace(handlers=(after.handlers[0]._replace(waiting=rows),))

    return with_step(commit_unit=commit_unit)


def give_up_when_fenced() -> Protocol:
    """Never take a partition again that was fenced, though the broker still gives it to this member."""

    def take(state: State) -> Successors:
        for label, after in handling.take.step(state):
            if not state.consumers[label.actor].was_fenced:
                yield label, after

    return with_step(take=take)


def _without_units(state: State) -> State:
    return state._replace(consumers=tuple(Consumer(*consumer[:-1], None) for consumer in state.consumers))


BUGS: dict[str, tuple[Callable[[], Protocol], str, str]] = {  # name -> protocol, world, guarantee that it breaks
    "offset_before_commit": (offset_before_commit, "handling", "G4"),
    "floor_without_proof": (floor_without_proof, "floor", "G7"),
    "no_fence": (no_fence, "handling", "G2"),
    "inbox_after_handler": (inbox_after_handler, "handling", "G2"),
    "delete_before_send": (delete_before_send, "sending", "G1"),
    "no_lock": (no_lock, "sending", "G1"),
    "nobody_wakes_the_next": (nobody_wakes_the_next, "retrying", "G7"),
    "give_up_when_fenced": (give_up_when_fenced, "handling", "G7"),
}
