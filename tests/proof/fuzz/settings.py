"""The project whose consumer gets the mutated records."""

from __future__ import annotations

import os

from tests.services import databases

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_eventbus",
    "tests.proof.fuzz",
]
LOGGING = {
    "version": 1,
    "handlers": {"odd": {"class": "tests.proof.fuzz.oddities.OddLines", "level": "WARNING"}},
    "root": {"handlers": ["odd"], "level": "INFO"},
}
GROUP = "fuzz"
DATABASES = {"default": databases.on_postgres(os.environ.get("FUZZ_POSTGRES", "postgresql://"))}
EVENTBUS = {
    "default": {
        "TRANSPORT": "kafka",
        "SERVICE": "fuzz",
        "DOMAIN": "fuzz",
        "ENVIRONMENT": "dev",
        "GROUP": GROUP,
        "OPTIONS": {"bootstrap.servers": os.environ.get("FUZZ_BROKER", "")},
        "CONSUMER_OPTIONS": {"auto.commit.interval.ms": 200},
        "RETRY": {"MAX_ATTEMPTS": 2, "DELAYS": (0.05,)},  # nothing is to fail, so what does is to end soon
        "CONSUMER": {"UNKNOWN_EVENT": os.environ.get("FUZZ_UNKNOWN", "skip")},
    }
}
