"""The project that is swept; its database, folder and buses are told by the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.proof.sweep.counted_sqlite import CountedConnection
from tests.services import databases

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_eventbus",
    "tests.proof.sweep.apps.SweepConfig",
]
RETRY_DELAY = 0.05


def folder() -> Path:
    """Return where this process, and those that it forks, keep the broker and a database in a file."""
    return Path(os.environ.get("SWEEP_FOLDER", "/nowhere"))


def database() -> dict[str, Any]:
    if url := os.environ.get("SWEEP_POSTGRES"):
        return {**databases.on_postgres(url), "ENGINE": "tests.proof.sweep.postgresql"}
    entry = databases.on_sqlite(str(folder() / "sweep.sqlite3"))
    entry["OPTIONS"]["factory"] = CountedConnection
    return entry


def bus(**more: Any) -> dict[str, Any]:
    """Return the default bus, with some settings of a scenario's own."""
    return {
        "default": {
            "TRANSPORT": "tests.proof.sweep.transport.JournalTransport",
            "SERVICE": "sweep",
            "DOMAIN": "sweep",
            "OPTIONS": {"folder": str(folder() / "journal")},
            "RETRY": {"MAX_ATTEMPTS": 3, "DELAYS": (RETRY_DELAY,), "JITTER": 0},
            "CONSUMER": {"CONCURRENCY": 1, "SHUTDOWN_TIMEOUT": 5, "GRACE": 5},
            **more,
        }
    }


LOGGING = {"version": 1, "loggers": {"django_eventbus": {"level": "CRITICAL"}}}  # failures are planned, deaths too
DATABASES = {"default": database()}
EVENTBUS: dict[str, Any] = bus()
