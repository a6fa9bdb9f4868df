"""What happened to a dead letter, and what does an operator do next?"""

from __future__ import annotations

from django_eventbus.models import DeadLetter
from django_eventbus.models.dead_letter import DeadLetterReason, DeadLetterStatus, Direction

STEPS = {
    DeadLetterReason.ATTEMPTS_EXHAUSTED: "Mend what the exception names, in the data, the code or the service that it "
    "called. Then replay.",
    DeadLetterReason.NEVER_RETRIED: "The handler's policy does not repeat this exception, since another attempt alone "
    "changes nothing. Mend its cause, then replay.",
    DeadLetterReason.REJECTED: "The handler refused the message on purpose. Replay only if the handler or its data has "
    "changed since; else discard.",
    DeadLetterReason.UNDECODABLE: "The bytes could not be read as an event. Let the sender publish it again, or deploy "
    "a contract or an upcaster that reads it, then replay.",
    DeadLetterReason.UNKNOWN_EVENT: "No contract with this name and version is registered. Declare it with @event or "
    "@external_event, deploy, then replay.",
    DeadLetterReason.PROCESS_DIED: "The worker's process ended while this message ran: memory, a native library, or a "
    "kill. Look at the logs of that time before a replay.",
    DeadLetterReason.HANDLER_RETIRED: "No handler of this name exists any more. Give its successor the name as an "
    "alias, deploy, then replay; or discard.",
    DeadLetterReason.REFUSED_BY_BROKER: "The broker will not take it: look at size limits, topic and access rights. "
    "After a replay it is sent at a new place in the order of its key.",
}


def happened(letter: DeadLetter) -> str:
    """Say in a sentence what failed, and how often."""
    message, reason = letter.event_name or "a record", letter.get_reason_display()
    if letter.direction == Direction.OUT:
        return f"{message} could not be sent to {letter.topic}: {reason}."
    if not letter.handler:
        return f"{message} of {letter.topic} reached no handler: {reason}."
    if letter.reason == DeadLetterReason.ATTEMPTS_EXHAUSTED:
        times = "once" if letter.attempts == 1 else f"{letter.attempts} times"
        return f"{letter.handler} failed {times} on {message}."
    return f"{letter.handler} did not handle {message}: {reason}."


def next_step(letter: DeadLetter) -> str:
    """Say what to do now."""
    match DeadLetterStatus(letter.status):
        case DeadLetterStatus.DEAD:
            return STEPS[DeadLetterReason(letter.reason)]
        case DeadLetterStatus.REPLAYING:
            return (
                f"A worker of the group {letter.group} takes it within seconds. Reload to see what became of it; "
                "if nothing does, see whether consume_events runs."
            )
        case DeadLetterStatus.REPLAYED if letter.direction == Direction.OUT:
            return "Nothing to do: it waits in the outbox again, or is sent. Should it be refused again, it comes back."
        case DeadLetterStatus.REPLAYED:
            return "Nothing to do: the handler has done its work."
        case DeadLetterStatus.DISCARDED:
            return "Nothing to do: it was given up and will not be handled."
