"""What does an operator see of the event bus, and what may they do?"""

from .dead_letters import DeadLetterAdmin
from .deliveries import InboxMessageAdmin, PartitionEpochAdmin, RetryMessageAdmin
from .operations import ControlFlagAdmin, OperatorActionAdmin
from .outbox import OutboxLaneAdmin, OutboxMessageAdmin, SentMessageAdmin
from .recurring import RecurringEventAdmin
from .sagas import SagaStateAdmin
from .scheduled import ScheduledMessageAdmin

__all__ = [
    "ControlFlagAdmin",
    "DeadLetterAdmin",
    "InboxMessageAdmin",
    "OperatorActionAdmin",
    "OutboxLaneAdmin",
    "OutboxMessageAdmin",
    "PartitionEpochAdmin",
    "RecurringEventAdmin",
    "RetryMessageAdmin",
    "SagaStateAdmin",
    "ScheduledMessageAdmin",
    "SentMessageAdmin",
]
