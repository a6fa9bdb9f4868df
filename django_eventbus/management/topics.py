"""Are the topics there that a command is about to use, and who creates the missing ones?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from django_eventbus.bus import Bus
from django_eventbus.exceptions import TransportUnavailable

RETRY_INTERVAL = 2.0


def prepare_topics(bus: Bus, topics: Collection[str], *, stop: threading.Event, warn: Callable[[str], None]) -> None:
    """Create missing topics where CREATE_TOPICS says so, else tell how each of them is created.

    A missing topic ends no command: its events wait, as the only ones, and flow once it is there. A broker that does
    not answer yet is asked again in the background: a command starts without it.
    """
    try:
        _prepare(bus, topics, warn)
    except TransportUnavailable:

        def keep_trying() -> None:
            while not stop.wait(RETRY_INTERVAL):
                try:
                    _prepare(bus, topics, warn)
                except TransportUnavailable:
                    continue
                return

        threading.Thread(target=keep_trying, name="eventbus-topics", daemon=True).start()


def _prepare(bus: Bus, topics: Collection[str], warn: Callable[[str], None]) -> None:
    missing = bus.transport.missing_topics(topics)
    if not missing:
        return
    if bus.config.create_topics:
        bus.transport.create_topics(missing)
        return
    for topic in sorted(missing):
        warn(
            f"Topic {topic!r} does not exist on the broker of bus {bus.config.alias!r}: its events wait. Create it, as "
            f"with kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {topic}; or set "
            f"EVENTBUS[{bus.config.alias!r}]['CREATE_TOPICS'] = True and start this command again."
        )
