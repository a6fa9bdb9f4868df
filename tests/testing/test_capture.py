"""What a test sees of published events, and what it is told when they are not the expected ones."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress

import pytest
from django.db import connection, connections, transaction
from django.test import TestCase

from django_eventbus import message_context, publish, publish_many
from django_eventbus.models import OutboxMessage
from django_eventbus.testing import assert_not_published, assert_published, captured_events
from tests.testing.tested_events import InvoiceIssued, OrderPlaced

ORDER = uuid.UUID(int=7)


def placed(total: int = 0) -> OrderPlaced:
    return OrderPlaced(order_id=ORDER, total=total)


@pytest.mark.django_db
class TestCapturedEvents:
    def test_are_in_the_order_of_publishing_with_their_envelopes(self) -> None:
        with captured_events() as published, message_context(correlation_id="c1"), transaction.atomic():
            publish(placed(1))
            publish_many([InvoiceIssued(order_id=ORDER, total=1), placed(2)])

        assert published.events == [placed(1), InvoiceIssued(order_id=ORDER, total=1), placed(2)]
        assert published.of(OrderPlaced) == [placed(1), placed(2)]
        first = published[0]
        assert (first.bus, first.using, len(published)) == ("default", "default", 3)
        assert first.envelope.topic == "dev.tests.public.orders.v1"
        assert first.envelope.key == str(ORDER).encode()
        assert first.envelope.correlation_id == "c1"

    def test_are_those_of_the_block(self) -> None:
        with transaction.atomic():
            publish(placed(1))
            with captured_events() as published:
                publish(placed(2))
            publish(placed(3))

        assert published.events == [placed(2)]

    def test_of_an_outer_block_hold_those_of_the_inner_one(self) -> None:
        with captured_events() as outer, transaction.atomic():
            publish(placed(1))
            with captured_events() as inner:
                publish(placed(2))
                assert_published(OrderPlaced, count=1)
            assert_published(OrderPlaced, count=2)

        assert (len(inner), len(outer)) == (1, 2)

    def test_leave_out_what_a_savepoint_took_back(self) -> None:
        with captured_events() as published, transaction.atomic():
            publish(placed(1))
            with suppress(LookupError), transaction.atomic():
                publish(placed(2))
                raise LookupError
            publish(placed(3))

        assert published.events == [placed(1), placed(3)]
        assert [each.is_rolled_back for each in published.taken] == [False, True, False]

    def test_leave_out_what_the_transaction_took_back(self) -> None:
        with captured_events() as published, suppress(LookupError), transaction.atomic():
            publish(placed(1))
            raise LookupError

        assert published.events == []

    def test_know_nothing_of_refused_events(self) -> None:
        with captured_events() as published, transaction.atomic(), suppress(ValueError):
            publish(OrderPlaced(order_id="no uuid"))  # type: ignore[arg-type]

        assert published.taken == []


@pytest.mark.django_db(transaction=True)
class TestRealTransactions:
    def test_committed_events_stay(self) -> None:
        with captured_events() as published, transaction.atomic():
            publish(placed(1))

        assert published.events == [placed(1)]

    def test_rolled_back_events_go(self) -> None:
        with captured_events() as published, suppress(LookupError), transaction.atomic():
            publish(placed(1))
            raise LookupError

        assert published.events == []
        assert not OutboxMessage.objects.exists()

    @pytest.mark.postgres_only
    def test_events_of_other_threads_are_captured(self) -> None:
        def work() -> None:
            with transaction.atomic():
                publish(placed(1))
            connections.close_all()

        with captured_events() as published:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        assert published.events == [placed(1)]


class TestInsideTestCase(TestCase):
    def test_captures_though_nothing_is_ever_committed(self) -> None:
        with captured_events() as published, transaction.atomic():
            publish(placed(1))

        assert connection.in_atomic_block
        assert published.events == [placed(1)]

    def test_asserts_on_what_waits_in_the_outbox_without_a_block(self) -> None:
        with transaction.atomic():
            publish(placed(5))
        with suppress(LookupError), transaction.atomic():
            publish(InvoiceIssued(order_id=ORDER, total=1))
            raise LookupError

        assert assert_published(OrderPlaced, count=1, order_id=ORDER) == [placed(5)]
        assert_not_published(InvoiceIssued)


@pytest.mark.django_db
class TestFailures:
    def test_show_what_was_published_instead(self) -> None:
        with captured_events() as published, transaction.atomic():
            publish(placed(3))
            publish(InvoiceIssued(order_id=ORDER, total=3))

        with pytest.raises(AssertionError) as failure:
            published.assert_published(OrderPlaced, order_id=ORDER, total=5)

        lines = str(failure.value).splitlines()
        assert lines[0] == f"OrderPlaced(order_id={ORDER!r}, total=5) was not published."
        assert lines[1] == "One OrderPlaced differs: total is 3, not 5."
        assert lines[3] == f"  1. {placed(3)!r} to dev.tests.public.orders.v1, key '{ORDER}'"
        assert "InvoiceIssued" in lines[4]

    def test_show_what_was_rolled_back(self) -> None:
        with captured_events() as published, transaction.atomic(), suppress(LookupError), transaction.atomic():
            publish(placed(3))
            raise LookupError

        with pytest.raises(AssertionError, match="ROLLED BACK"):
            published.assert_published(OrderPlaced)

    def test_tell_how_often(self) -> None:
        with captured_events(), transaction.atomic():
            publish_many([placed(1), placed(1)])

            assert_published(OrderPlaced)
            assert_published(OrderPlaced, count=2, total=1)
            assert_published(OrderPlaced, count=0, total=2)
            with pytest.raises(AssertionError, match="was published 2 times, not once"):
                assert_published(OrderPlaced, count=1)

    def test_of_the_negative_form_show_what_was_there(self) -> None:
        with captured_events() as published, transaction.atomic():
            assert_not_published()
            publish(placed(1))

            assert_not_published(OrderPlaced, total=2)
            assert_not_published(InvoiceIssued)
        with pytest.raises(AssertionError, match=r"OrderPlaced\(total=1\) was published once"):
            published.assert_not_published(OrderPlaced, total=1)
        with pytest.raises(AssertionError, match="an event was published once"):
            published.assert_not_published()

    def test_say_that_nothing_was_published(self) -> None:
        with pytest.raises(AssertionError, match="Nothing was published"):
            assert_published(OrderPlaced)

    def test_name_the_likely_field(self) -> None:
        with captured_events(), pytest.raises(TypeError, match=r"no field 'totl'\. Did you mean 'total'"):
            assert_not_published(OrderPlaced, totl=1)
