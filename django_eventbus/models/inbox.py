"""Which (message, handler) pairs has this database already taken?"""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

FOREIGN = 1 << 127  # top bit of keys made of a hash alone
TAIL = (1 << 80) - 1


def inbox_key(handler: str, source: str, message_id: str) -> UUID:
    """Name one delivery of one message to one handler.

    48 bits of time and 80 of hash where the id is a UUIDv7, so that keys insert in order and purge by range; hash
    bits alone, with the top bit set, for any other id. This is wire: a change would let handled messages in again.
    """
    digest = blake2b(f"{handler}\0{source}\0{message_id}".encode(), digest_size=16).digest()
    number = int.from_bytes(digest, "big")
    time = _time_bits(message_id)
    if time is None:
        return UUID(int=number | FOREIGN)
    return UUID(int=(time << 80 | number & TAIL) & ~FOREIGN)


def position_key(group: str, topic: str, partition: int, offset: int, *, content: bytes) -> UUID:
    """Name a record that has no readable id, so that a second delivery of it makes no second dead letter.

    Its content tells it from the record that has its offset once the topic is made again.
    """
    place = f"{group}\0{topic}\0{partition}\0{offset}\0".encode()
    digest = blake2b(place + content, digest_size=16).digest()
    return UUID(int=int.from_bytes(digest, "big") | FOREIGN)


def _time_bits(message_id: str) -> int | None:
    if len(message_id) != 36 or message_id[14] != "7":
        return None
    try:
        if message_id[8] == message_id[13] == message_id[18] == message_id[23] == "-":
            digits = message_id.replace("-", "")  # as UUID() reads it, in a third of the time
            return int(digits, 16) >> 80 if len(digits) == 32 and digits.isalnum() else None
        return UUID(message_id).int >> 80
    except ValueError:
        return None


class InboxMessage(models.Model):
    """Say that the database has taken a message for a handler; stays through retries and replays."""

    key = models.UUIDField(primary_key=True)  # inbox_key()
    handler = models.TextField()  # stored name; empty for a record that could not be decoded
    partition_id = models.IntegerField()  # PartitionEpoch row: group, topic and number
    position = models.BigIntegerField()  # broker offset, or outbox id on the local transport
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "eventbus_inbox"
        default_permissions = ("view",)
        verbose_name = "inbox message"

    def __str__(self) -> str:
        return f"{self.handler} {self.key}"
