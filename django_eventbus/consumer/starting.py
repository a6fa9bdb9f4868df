"""From which offset does a worker go on with a partition that it has taken?"""

from __future__ import annotations

import logging

from django_eventbus.transports.base import Consumer, TopicPartition

from .ownership import Claim

logger = logging.getLogger(__name__)


class Starts:
    """Find the offsets to go on at, and notice topics that have grown under way. Belongs to the consumer's thread."""

    def __init__(self) -> None:
        self.known: dict[TopicPartition, int] = {}  # where to go on when neither broker nor database know
        self._partitions: dict[str, int] = {}  # of each topic, when its first one came to this process

    def of(self, claim: Claim, consumer: Consumer) -> int | None:
        """Return the offset for a partition that was just taken; may raise TransportUnavailable."""
        self._notice_growth(claim.place, consumer)
        return start_of(claim, consumer, known=self.known.get(claim.place))

    def _notice_growth(self, place: TopicPartition, consumer: Consumer) -> None:
        before = self._partitions.get(place.topic)
        if before is not None and place.number < before:
            return
        now = self._partitions[place.topic] = len(consumer.partitions_of([place.topic]))
        if before is not None:
            logger.warning(
                "topic has got more partitions topic=%s before=%s now=%s: keys have moved, so events under way may be "
                "overtaken by later ones of their key",
                *(place.topic, before, now),
            )


def start_of(claim: Claim, consumer: Consumer, *, known: int | None) -> int | None:
    """Return the offset to go on at; None where nobody knows one, and the policy of the consumer decides.

    `known` is how far this process itself came with the partition. In doubt the whole log is read again: the inbox
    keeps out what was handled, but nothing brings back what was skipped. May raise TransportUnavailable.
    """
    place = claim.place
    committed = consumer.committed([place])[place]
    first, end = consumer.first_offsets([place])[place], consumer.end_offsets([place])[place]
    start = known if committed is None else committed
    low_water = claim.positions.low_water
    if committed is not None and low_water is not None and committed > low_water:
        start = low_water
        if claim.was_clean:
            logger.warning(
                "broker is ahead of the database place=%s/%s committed=%s low_water=%s",
                *(*place, committed, low_water),
            )
    if start is None and low_water is not None:
        # A topic that was made again, or another cluster: the mark is an offset of a log that is gone.
        logger.warning("broker has forgotten the group, reading all place=%s/%s low_water=%s", *place, low_water)
        return first
    if start is not None and start > end:
        logger.error("log has become shorter, reading all of it place=%s/%s start=%s end=%s", *place, start, end)
        return first
    if start is not None and start < first:
        logger.error("records were deleted unread place=%s/%s from=%s to=%s", *place, start, first)
        return first
    return start
