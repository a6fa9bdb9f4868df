from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from django_eventbus.bus import Bus, buses
from django_eventbus.delivery.handler import Handler
from django_eventbus.delivery.registry import handlers
from django_eventbus.exceptions import ConfigurationError


def test_buses_stand_in_the_order_of_the_setting(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "second": {"DATABASE": "other"}, "third": {}}

    assert list(buses) == ["default", "second", "third"]
    assert len(buses) == 3
    assert [bus.config.alias for bus in buses.values()] == ["default", "second", "third"]
    assert buses.databases() == ("default", "other")


def test_databases_of_handlers_belong_to_every_bus(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "second": {"DATABASE": "other"}}

    with handlers.isolated():
        handlers.register(Handler(name="shop.far", function=print, events=(), app_label=None, using="far"))

        assert buses.databases() == ("default", "other", "far")
        assert buses.databases("second") == ("other", "far")


def test_unknown_bus_is_named_with_the_known_ones(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "second": {}}

    with pytest.raises(ConfigurationError, match="'thrid' is not in EVENTBUS; known are 'default', 'second'"):
        buses["thrid"]


def test_changed_settings_take_effect(settings: Any) -> None:
    before = buses["default"]

    settings.EVENTBUS = {"default": {"SERVICE": "renamed"}}

    assert buses["default"] is not before
    assert buses["default"].config.service == "renamed"


def test_bus_is_the_same_for_all_threads() -> None:
    buses.clear()
    barrier = threading.Barrier(8)
    found: list[Bus] = []

    def look() -> None:
        barrier.wait()
        found.append(buses["default"])

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(bus) for bus in found}) == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_has_buses_of_its_own() -> None:
    before = buses["default"]
    child = os.fork()
    if child == 0:
        gc.disable()  # an inherited Kafka client, collected here, would wait for threads that stayed behind
        os._exit(0 if buses["default"] is not before else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert buses["default"] is before


def test_transport_that_cannot_be_imported_is_named(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"TRANSPORT": "no.such.Transport"}}

    with pytest.raises(ConfigurationError, match=r"EVENTBUS\['default'\]\['TRANSPORT'\]"):
        _ = buses["default"].transport


def test_package_is_importable_before_settings() -> None:
    script = """
import django_eventbus
from django_eventbus import *
from django_eventbus import event, external_event, handler, message_context, upcaster, Reject, RetryPolicy
assert not hasattr(django_eventbus, "nonsense")
assert "publish" in dir(django_eventbus)
"""
    plain = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run([sys.executable, "-c", "import django_eventbus"], env=plain, check=True, timeout=30)
    early = script.replace("from django_eventbus import *\n", "")
    done = subprocess.run([sys.executable, "-c", early], env=plain, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_can_be_imported() -> None:
    import django_eventbus

    assert [name for name in django_eventbus.__all__ if not hasattr(django_eventbus, name)] == []
