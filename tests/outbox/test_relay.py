from __future__ import annotations

import pytest

from django_eventbus.models import OutboxMessage
from tests.outbox.relaying import RecordingSender, append, drain

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_is_sent_once_in_the_order_of_ids_and_leaves_the_outbox() -> None:
    append(*map(str, range(2500)))
    sender = RecordingSender()

    report = drain(sender)

    assert sender.payloads == [str(number) for number in range(2500)]
    assert report.sent == 2500
    assert report.is_empty
    assert not OutboxMessage.objects.exists()
    assert sender.is_closed
