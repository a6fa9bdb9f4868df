"""What does a unit of work know about one run of one handler?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django_eventbus.delivery.deliveries import Delivery, Outcome
from django_eventbus.models.retry import WaitingDelivery

from .ownership import Claim, Fence


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Carry one delivery through units of work, until one of them is committed."""

    delivery: Delivery
    claim: Claim
    using: str  # database alias of the handler
    row: WaitingDelivery | None = None  # where it waited; None for a message that just arrived
    condemned: BaseException | None = None  # it must not run: it fails with this
    duration: float = 0.0  # seconds that its handler took

    @property
    def key(self) -> UUID:
        """Return the key of the row under which it waits, or would wait."""
        return self.delivery.inbox_key if self.row is None else self.row.key

    @property
    def fence(self) -> Fence:
        """Return what its unit has to be fenced by."""
        return self.claim.fences[self.using]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a run; told to the receivers of signals after the commit."""

    run: Run
    outcome: Outcome
    error: BaseException | None = None
    retry_at: datetime | None = None
