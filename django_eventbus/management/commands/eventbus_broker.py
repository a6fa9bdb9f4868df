"""Run the embedded development broker until it is stopped."""

from __future__ import annotations

import json
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_eventbus.bus import DEFAULT, buses
from django_eventbus.conf import BusConfig
from django_eventbus.events.naming import topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError

_PORT = 29092


class Command(BaseCommand):
    """Print the address, serve until SIGTERM or Ctrl-C. Exit with 0, 1 if it cannot listen, 2 for wrong usage."""

    help = "Run the embedded Kafka broker for development: in memory, 5 MB a partition, no security, no transactions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bus", default=DEFAULT, help="The bus whose topics are created (default: %(default)s).")
        parser.add_argument("--host", default="127.0.0.1", help="Where to listen (default: %(default)s).")
        parser.add_argument(
            "--port", type=int, default=_PORT, help="Where to listen; 0 takes a free port (%(default)s)."
        )
        parser.add_argument(
            "--partitions", type=int, default=4, help="Partitions of each topic (default: %(default)s)."
        )
        parser.add_argument("--topic", action="append", default=[], help="A further topic; may be repeated.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from django_eventbus.transports.kafka.embedded import EmbeddedBroker  # noqa: PLC0415 - the extra may be absent

            config = buses[options["bus"]].config
        except (ImportError, ConfigurationError) as exc:
            raise CommandError(str(exc), returncode=2) from exc
        topics = sorted({*topics_of(config), *options["topic"]})
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        try:
            broker = EmbeddedBroker(host=options["host"], port=options["port"])
        except OSError as exc:
            raise CommandError(
                f"Cannot listen on {options['host']}:{options['port']}: {exc.strerror}. Choose another --port, or 0."
            ) from exc
        with broker:
            for topic in topics:
                broker.create_topic(topic, partitions=options["partitions"])
            self._announce(broker.address, topics, options)
            stopped.wait()
        self._say("" if options["json"] else "stopped")

    def _announce(self, address: str, topics: list[str], options: dict[str, Any]) -> None:
        if options["json"]:
            self._say(json.dumps({"address": address, "partitions": options["partitions"], "topics": topics}))
            return
        self._say(f"listening on {address}; OPTIONS: {{'bootstrap.servers': '{address}'}}; Ctrl-C stops it")
        for topic in topics:
            self._say(f"  {topic} ({options['partitions']} partitions)")

    def _say(self, text: str) -> None:
        if text:
            self.stdout.write(text)
            self.stdout.flush()


def topics_of(config: BusConfig) -> set[str]:
    """Return the topic of every event, and of the older versions that upcasters still read."""
    travelling = [contract for contract in events.all() if not contract.is_domain_event]
    return {topic_of(version, config) for contract in travelling for version in events.ancestry(contract)}
