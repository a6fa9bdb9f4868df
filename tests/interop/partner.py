"""A foreign service: bare confluent-kafka and the cloudevents SDK, run as a program of its own.

partner.py send ADDRESS TOPIC binary|structured COUNT
partner.py receive ADDRESS TOPIC COUNT    prints one JSON object for each event, then the foreign modules it has loaded
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Consumer, Producer


def send(address: str, topic: str, mode: str, count: str) -> None:
    producer = Producer({"bootstrap.servers": address})
    for number in range(int(count)):
        attributes = {
            "type": "partner.parcels.parcel-arrived",
            "source": "https://partner.example/parcels",
            "id": f"parcel:{mode}:{number}",
            "time": datetime.now(UTC),
            "datacontenttype": "application/json",
            "correlationid": f"journey-{number}",
            "partitionkey": "hall-7",
        }
        made = CloudEvent(attributes=attributes, data={"key": "hall-7", "number": number, "weight": 2.5})
        write = kafka.to_binary_event if mode == "binary" else kafka.to_structured_event
        message = write(made)
        producer.produce(topic, message.value, message.key, headers=dict(message.headers))
    assert producer.flush(30) == 0


def receive(address: str, topic: str, count: str) -> None:
    options = {"bootstrap.servers": address, "group.id": f"partner-{topic}", "auto.offset.reset": "earliest"}
    consumer = Consumer(options)
    consumer.subscribe([topic])
    for _ in range(int(count)):
        record = consumer.poll(30)
        assert record is not None, "no record came"
        assert record.error() is None, record.error()
        received = cast("list[tuple[str, bytes]]", record.headers() or [])
        headers = dict(received)
        message = kafka.KafkaMessage(headers=headers, key=record.key(), value=record.value() or b"")
        read = kafka.from_kafka_event(message)
        told = {**read.get_attributes(), "data": read.get_data(), "key": (record.key() or b"").decode()}
        sys.stdout.write(json.dumps(told, default=str) + "\n")
    consumer.close()


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"send": send, "receive": receive}
    commands[sys.argv[1]](*sys.argv[2:])
    loaded = {name.partition(".")[0] for name in sys.modules}
    sys.stdout.write(json.dumps(sorted(loaded & {"django", "django_eventbus", "tests"})) + "\n")
