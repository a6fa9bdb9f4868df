"""What must hold in every state, and what in the last one?"""

from __future__ import annotations

from collections.abc import Iterator

from tests.proof.model.state import State


def broken(state: State) -> Iterator[str]:
    """Name the guarantees that this state breaks."""
    yield from sending_broken(state)
    for number in range(len(state.handlers)):
        yield from handling_broken(state, number)
    yield from neighbours_broken(state)


def sending_broken(state: State) -> Iterator[str]:
    """Look at the outbox and the log."""
    for event in state.log:
        if not state.was_committed(event):
            yield f"G1: {event} is in the log and was not committed"
    for writer in state.writers:
        if writer.ended == "committed":
            places = state.outbox | set(state.parked) | state.buried | set(state.log)
            if writer.id not in places:
                yield f"G1: {writer.id} was committed and is nowhere"
    if state.relays and state.budget == state.whole_budget and len(set(state.log)) < len(state.log):
        yield "G1: sent again, though nothing was killed"
    for earlier, later in _inversions(state, dict.fromkeys(state.log)):
        if earlier not in state.buried:
            yield f"G3: {later} is in the log before {earlier}"


def handling_broken(state: State, number: int) -> Iterator[str]:
    """Look at what the database knows of one handler."""
    handler = state.handlers[number]
    for event in set(handler.effects):
        if handler.effects.count(event) > 1:
            yield f"G2: {event} took effect {handler.effects.count(event)} times"
    for earlier, later in _inversions(state, handler.effects):
        if earlier not in handler.was_dead:
            yield f"G3: {later} took effect before {earlier}"
    rows = {row.event for row in handler.waiting}
    for event in state.log[: state.committed]:
        if event not in handler.inbox:
            yield f"G4: the group is past {event}, which no handler has seen"
    for event in handler.inbox:
        places = (event in handler.effects) + (event in rows) + (event in handler.dead)
        if places != 1:
            yield f"G4: {event} was taken, and stands in {places} places"
    attempts = {row.event: row.attempts for row in handler.waiting}
    for event, failures in handler.failures:
        if attempts.get(event, failures) != failures:
            yield f"G6: {event} counts {attempts[event]} attempts after {failures} failures"
    for event in rows:
        lane = [row for row in handler.waiting if state.key_of(row.event) == state.key_of(event)]
        if not lane[0].is_due:
            yield f"G7: nothing will wake the lane of {event}"


def neighbours_broken(state: State) -> Iterator[str]:
    """Look whether a handler that never fails has fallen behind one that does."""
    if len(state.handlers) > 1:
        first, second = state.handlers[:2]
        if second.waiting or second.dead or first.inbox != second.inbox or set(second.effects) != second.inbox:
            yield "G5: a failure of the first handler holds up the second"


def is_goal(state: State) -> bool:
    """Say whether everything that was published has ended, where it should."""
    if state.outbox or state.parked or any(writer.is_open or not writer.ended for writer in state.writers):
        return False
    sent = {writer.id for writer in state.writers if writer.ended == "committed"} - state.buried
    if not state.consumers:
        return sent <= set(state.log)
    if state.committed != len(state.log) or any(handler.waiting for handler in state.handlers):
        return False
    return all(sent == set(handler.effects) | handler.dead for handler in state.handlers)


def _inversions(state: State, order: object) -> Iterator[tuple[int, int]]:
    seen: list[int] = []
    for event in order:  # type: ignore[attr-defined]
        for before in seen:
            if before > event and state.key_of(before) == state.key_of(event):
                yield event, before
        seen.append(event)
