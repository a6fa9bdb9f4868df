"""The basket saga, told as stories without a database."""

from __future__ import annotations

from typing import Any

import pytest

from django_eventbus.models import SagaHistory, SagaState, ScheduledMessage
from django_eventbus.testing import SagaScenario, assert_published
from tests.sagas.basket import (
    MAX_ATTEMPTS,
    PATIENCE,
    BasketDeletionFailed,
    CancellationNotified,
    Checkout,
    CheckoutSubmitted,
    CompletionNotified,
    DeletionFailureTold,
    OrderCancelled,
    OrderCompleted,
    PlacementRequested,
    Stage,
    declare,
)

KNOWN = {"email": "ann@example.com", "name": "Ann"}


@pytest.fixture
def scenario() -> SagaScenario[Checkout]:
    return SagaScenario(declare())


def submitted(**contact: Any) -> CheckoutSubmitted:
    return CheckoutSubmitted(order_id=7, basket_id=3, **contact)


def test_the_start_asks_for_the_order_and_sets_a_timeout(scenario: SagaScenario[Checkout]) -> None:
    scenario.when(submitted())

    scenario.expect_published(PlacementRequested(order_id=7, basket_id=3))
    scenario.expect_state(order_id=7, stage=Stage.PLACED).expect_timeouts(placement=PATIENCE)
    scenario.expect_status("running")


def test_a_failed_deletion_of_the_basket_ends_the_saga_and_is_told(scenario: SagaScenario[Checkout]) -> None:
    scenario.given(submitted(**KNOWN))

    scenario.when(BasketDeletionFailed(order_id=7))

    scenario.expect_published(DeletionFailureTold(order_id=7))
    scenario.expect_state(stage=Stage.BASKET_DELETION_FAILED).expect_status("completed").expect_timeouts()


@pytest.mark.parametrize(
    ("ending", "notice", "stage"),
    [
        (OrderCompleted(order_id=7), CompletionNotified, Stage.COMPLETED),
        (OrderCancelled(order_id=7), CancellationNotified, Stage.CANCELLED),
    ],
)
def test_the_end_is_notified_where_email_and_name_are_known(
    scenario: SagaScenario[Checkout], ending: object, notice: type[Any], stage: Stage
) -> None:
    scenario.given(submitted(**KNOWN))

    scenario.when(ending)

    scenario.expect_published(notice(order_id=7, **KNOWN)).expect_state(stage=stage).expect_status("completed")


@pytest.mark.parametrize("contact", [{}, {"email": "ann@example.com"}, {"name": "Ann"}])
@pytest.mark.parametrize("ending", [OrderCompleted(order_id=7), OrderCancelled(order_id=7)])
def test_the_end_is_not_notified_without_email_or_name(
    scenario: SagaScenario[Checkout], ending: object, contact: dict[str, str]
) -> None:
    scenario.given(submitted(**contact))

    scenario.when(ending)

    scenario.expect_published().expect_status("completed")


def test_a_timeout_is_armed_again_until_the_last_attempt(scenario: SagaScenario[Checkout]) -> None:
    scenario.given(submitted(**KNOWN))

    for attempt in range(1, MAX_ATTEMPTS):
        scenario.advance(PATIENCE)
        scenario.expect_published().expect_state(attempts=attempt, stage=Stage.PLACED)
        scenario.expect_timeouts(placement=PATIENCE)


def test_the_last_timeout_cancels(scenario: SagaScenario[Checkout]) -> None:
    scenario.given(submitted(**KNOWN))

    scenario.advance(PATIENCE * MAX_ATTEMPTS)

    scenario.expect_published(CancellationNotified(order_id=7, **KNOWN))
    scenario.expect_state(stage=Stage.CANCELLED, attempts=MAX_ATTEMPTS).expect_status("completed")


def test_nothing_follows_the_end(scenario: SagaScenario[Checkout]) -> None:
    scenario.given(submitted(**KNOWN), OrderCompleted(order_id=7))

    scenario.when(OrderCancelled(order_id=7)).expect_outcome("ignored_late").expect_published()
    scenario.advance(PATIENCE * MAX_ATTEMPTS).expect_published().expect_state(stage=Stage.COMPLETED, attempts=0)


def test_the_same_story_is_true_in_the_database(db: None) -> None:
    story = SagaScenario(declare(), in_database=True).given(submitted(**KNOWN))

    story.advance(PATIENCE).expect_published().expect_state(attempts=1).expect_timeouts(placement=PATIENCE)
    story.advance(PATIENCE * (MAX_ATTEMPTS - 1)).expect_published(CancellationNotified(order_id=7, **KNOWN))
    story.expect_state(stage=Stage.CANCELLED).expect_status("completed").expect_timeouts()

    row = SagaState.objects.get(saga="basket.BasketSaga", key="7")
    history = SagaHistory.objects.filter(instance_id=row.pk).order_by("version")
    assert (row.status, row.version) == ("completed", MAX_ATTEMPTS + 1)
    assert [step.outcome for step in history] == ["started", "stepped", "stepped", "completed"]
    assert not ScheduledMessage.objects.exists()
    assert_published(PlacementRequested, count=1)
    assert_published(CancellationNotified, count=1, order_id=7)
