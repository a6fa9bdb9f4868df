"""The basket saga, told as stories without a database."""

from __future__ import annotations

from typing import Any

import pytest

from django_eventbus.testing.scenario import SagaScenario
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
