"""The pytest plugin works in a project of its own, and costs nothing in one without Django."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django_eventbus", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
EVENTS = """
from django_eventbus import event

@event("shop.orders.order-placed", entity="order", key="number")
class OrderPlaced:
    number: int

@event("shop.orders.order-confirmed", entity="order", key="number")
class OrderConfirmed:
    number: int
"""
HANDLERS = """
from django_eventbus import handler
from shop.events import OrderConfirmed, OrderPlaced

@handler(OrderPlaced)
def confirm(event: OrderPlaced) -> OrderConfirmed:
    return OrderConfirmed(number=event.number)
"""
TESTS = """
import unittest

import pytest
from django.db import transaction
from django.test import TestCase
from django_eventbus import publish
from django_eventbus.testing import make_context
from shop.events import OrderConfirmed, OrderPlaced
from shop.handlers import confirm


def place(number):
    with transaction.atomic():
        publish(OrderPlaced(number=number))


def test_handler_is_a_plain_function():
    assert confirm(OrderPlaced(number=3)) == OrderConfirmed(number=3)
    assert make_context(OrderPlaced(number=3), attempt=2).event_name == "shop.orders.order-placed"


def test_in_a_test_transaction(db, captured_events, assert_published, assert_not_published, drain_events):
    place(1)
    assert_published(OrderPlaced, number=1)
    assert_not_published(OrderConfirmed)

    report = drain_events()

    assert report.handled == 1
    assert captured_events.events == [OrderPlaced(number=1), OrderConfirmed(number=1)]


def test_with_real_transactions(transactional_db, captured_events, drain_events):
    place(2)

    assert drain_events().handled == 1
    assert captured_events.events == [OrderPlaced(number=2), OrderConfirmed(number=2)]


@pytest.mark.usefixtures("captured_events")
class TestDjango(TestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, captured_events, drain_events):
        self.captured, self.drain = captured_events, drain_events

    def test_in_a_test_case(self):
        place(3)
        self.drain()
        assert self.captured.of(OrderConfirmed) == [OrderConfirmed(number=3)]


def test_failure_says_what_was_published(db, assert_published):
    place(4)
    assert_published(OrderPlaced, number=5)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    app = pytester.mkpydir("shop")
    files = {"events": EVENTS, "handlers": HANDLERS}
    for name, text in files.items():
        (app / f"{name}.py").write_text(text)
    pytester.makepyfile(project_settings=SETTINGS, test_shop=TESTS)
    pytester.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\npythonpath = .\nfilterwarnings = error")
    return pytester


def test_fixtures_work_in_a_project_of_its_own(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    result = project.runpytest_subprocess("-p", "no:asyncio")

    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: OrderPlaced(number=5) was not published.", "*number is 4, not 5*"])


def test_fixtures_are_listed_without_settings(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    result = pytester.runpytest_subprocess("--fixtures", "-p", "no:django")

    result.stdout.fnmatch_lines(["captured_events*", "drain_events*"])


def test_plugin_imports_no_django() -> None:
    code = "import sys, django_eventbus.pytest_plugin; sys.exit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0
