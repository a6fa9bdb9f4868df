"""One event for each way in which handlers run."""

from __future__ import annotations

from django_eventbus.events.contract import event


@event("sweep.stepped", topic="/sweep.steps", domain="sweep", key="key")
class Stepped:
    key: str
    number: int


@event("sweep.echoed", topic="/sweep.echoes", domain="sweep", key="key")
class Echoed:
    key: str
    number: int


@event("sweep.listed", topic="/sweep.steps", domain="sweep", key="key")
class Listed:
    key: str
    number: int


@event("sweep.awaited", topic="/sweep.steps", domain="sweep", key="key")
class Awaited:
    key: str
    number: int


@event("sweep.handed", topic="/sweep.steps", domain="sweep", key="key")
class Handed:
    key: str
    number: int


@event("sweep.tallied", topic="/sweep.steps", domain="sweep", key="key")
class Tallied:
    key: str
    number: int


@event("sweep.opened", topic="/sweep.steps", domain="sweep", key="key")
class Opened:
    key: str
    number: int


@event("sweep.advanced", topic="/sweep.steps", domain="sweep", key="key")
class Advanced:
    key: str
    number: int
