"""How does a broker that has just started become as fast as one that has run for a while?

Java compiles what runs often while it runs. A broker of a few seconds takes 2 ms of processor time for a request of one
record, and 0.3 after some ten thousand: peers, which send one request a record, would be measured at a fraction.
"""

from __future__ import annotations

from confluent_kafka.cimpl import Producer

from benchmarks.bench import Bench

REQUESTS = 20_000


def warm_up(bench: Bench) -> None:
    """Send so many requests of one record each."""
    topic = bench.topic()
    producer = Producer(
        {"bootstrap.servers": bench.kafka, "enable.idempotence": True, "batch.num.messages": 1, "linger.ms": 0}
    )
    for number in range(REQUESTS):
        producer.produce(topic.name, b"n" * 330, f"order-{number % 1000:04}")
        producer.poll(0)
    if producer.flush(300):
        raise RuntimeError(f"the broker did not take all records of {topic.name}")
    topic.delete()
