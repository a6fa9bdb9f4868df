"""The development broker: reachable at a fixed port, breakable on demand, stopped by a signal."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_eventbus import event, upcaster
from django_eventbus.events.registry import events
from django_eventbus.exceptions import TransportUnavailable
from django_eventbus.management.commands.eventbus_broker import topics_of
from django_eventbus.transports.base import ConsumerOptions, FailureKind
from django_eventbus.transports.kafka import KafkaTransport, embedded
from django_eventbus.transports.kafka.embedded import EmbeddedBroker
from django_eventbus.transports.kafka.logs import RateLimit

from .conftest import Heard, bus_config, poll_until, row

ROOT = Path(__file__).resolve().parents[2]


def transport_to(address: str) -> KafkaTransport:
    return KafkaTransport(bus_config(address, consumer_options=embedded.CONSUMER_OPTIONS))


def round_trip(address: str, topic: str) -> None:
    transport = transport_to(address)
    sender = transport.open_sender(client_id="tests")
    assert sender.send([row(topic, b"k", b"hello")], deadline=10).acked
    sender.close()
    consumer = transport.open_consumer(ConsumerOptions(group="tests", client_id="tests"))
    consumer.subscribe([topic], listener=Heard())
    assert poll_until(consumer, lambda records: len(records) >= 1)[0].value == b"hello"
    consumer.close()


def test_records_pass_through_a_fixed_port() -> None:
    with EmbeddedBroker(port=0) as broker:
        broker.create_topic("orders", partitions=3)
        round_trip(broker.address, "orders")

        assert transport_to(broker.address).missing_topics({"orders", "other"}) == {"other"}


def test_a_taken_port_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        EmbeddedBroker(port=taken.getsockname()[1])


def test_an_outage_can_be_made_and_ended(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("orders")
    sender = transport_to(embedded_broker.address).open_sender(client_id="tests")
    sender.send([row("orders")], deadline=10)

    embedded_broker.set_down()
    (failure,) = sender.send([row("orders")], deadline=0.5).failures.values()
    embedded_broker.set_up()

    assert failure.kind is FailureKind.TRANSPORT_DOWN
    assert sender.send([row("orders")], deadline=10).acked
    sender.close()


def test_nobody_there_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_eventbus.transports.kafka.topics._ANSWER", 0.5)
    monkeypatch.setattr("django_eventbus.transports.kafka.consumer._ANSWER", 0.5)
    transport = KafkaTransport(bus_config("127.0.0.1:1"))
    consumer = transport.open_consumer(ConsumerOptions(group="g", client_id="c"))

    with pytest.raises(TransportUnavailable, match=r"bootstrap\.servers"):
        transport.missing_topics({"orders"})
    with pytest.raises(TransportUnavailable, match=r"bootstrap\.servers"):
        consumer.partitions_of({"orders"})
    consumer.close()


def test_log_lines_of_a_kind_are_held_back() -> None:
    limit = RateLimit(interval=60)
    lines = [
        logging.makeLogRecord({"levelno": 40, "msg": "%s [%s] %s", "args": (kind, "c", text)})
        for kind, text in [("FAIL", "one"), ("FAIL", "two"), ("ERROR", "three"), ("FAIL", "four")]
    ]

    assert [limit.filter(line) for line in lines] == [True, False, True, False]


def test_a_line_says_how_many_were_held_back() -> None:
    limit = RateLimit(interval=-1)
    limit._seen[40, "FAIL"] = (0.0, 7)
    line = logging.makeLogRecord({"levelno": 40, "msg": "FAIL again"})

    assert limit.filter(line)
    assert line.getMessage() == "FAIL again (held_back=7)"


def broker_command(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "django", "eventbus_broker", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_stopped(stop: signal.Signals) -> None:
    with broker_command("--port", "0", "--partitions", "2", "--topic", "orders", "--json") as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        round_trip(said["address"], "orders")

        process.send_signal(stop)

        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert "orders" in said["topics"]
    assert said["partitions"] == 2


def test_the_command_makes_the_topics_of_older_versions_too() -> None:
    with events.isolated():

        @event("tests.counters.counted", topic="counts", domain="tests", version=3)
        class Counted:
            number: int

        def upcast(data: dict[str, Any]) -> dict[str, Any]:
            return data

        for version in (1, 2):
            upcaster(Counted, from_version=version)(upcast)

        topics = topics_of(bus_config("kafka:9092"))

    assert {f"dev.tests.public.counts.v{version}" for version in (1, 2, 3)} <= topics


def test_the_command_refuses_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with broker_command("--port", str(port)) as process:
            _, errors = process.communicate(timeout=20)

    assert process.returncode == 1
    assert f"127.0.0.1:{port}" in errors
    assert "--port" in errors
    assert "Traceback" not in errors
