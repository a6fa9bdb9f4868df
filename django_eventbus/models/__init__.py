"""The tables of the event bus; each module holds one concern and all of its SQL."""

from .control import ControlFlag
from .dead_letter import DeadLetter
from .inbox import InboxMessage
from .operator_action import OperatorAction
from .outbox import OutboxLane, OutboxMessage, ParkedMessage, SentMessage
from .partition import PartitionEpoch
from .recurring import RecurringEvent
from .retry import RetryMessage
from .saga import SagaState
from .saga_step import SagaHistory
from .scheduled import ScheduledMessage

__all__ = [
    "ControlFlag",
    "DeadLetter",
    "InboxMessage",
    "OperatorAction",
    "OutboxLane",
    "OutboxMessage",
    "ParkedMessage",
    "PartitionEpoch",
    "RecurringEvent",
    "RetryMessage",
    "SagaHistory",
    "SagaState",
    "ScheduledMessage",
    "SentMessage",
]
