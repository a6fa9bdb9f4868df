"""The project whose processes follow a trace of the model."""

from __future__ import annotations

import os
from pathlib import Path

from tests.proof.model.handling import MOST_ATTEMPTS
from tests.proof.model.sending import LIMIT
from tests.services import databases

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_eventbus",
    "tests.proof.differential.apps.DifferentialConfig",
]
LOGGING = {"version": 1, "loggers": {"django_eventbus": {"level": "CRITICAL"}}}  # failures are planned, deaths too
FOLDER = Path(os.environ.get("PROOF_FOLDER", "/nowhere"))
HANDLERS = int(os.environ.get("PROOF_HANDLERS", "1"))
DATABASES = {"default": databases.on_postgres(os.environ.get("PROOF_POSTGRES", "postgresql://"))}
EVENTBUS = {
    "default": {
        "TRANSPORT": "tests.proof.differential.gated.GatedTransport",
        "SERVICE": "differential",
        "DOMAIN": "proof",
        "GROUP": "differential",
        "OPTIONS": {"folder": str(FOLDER)},
        "OUTBOX": {"BATCH_SIZE": LIMIT, "WAKE_WITH": "poll"},
        "RETRY": {"MAX_ATTEMPTS": MOST_ATTEMPTS, "DELAYS": (0.001,), "JITTER": 0},
        "CONSUMER": {"CONCURRENCY": 1, "MAX_IN_FLIGHT": HANDLERS, "BATCH_SIZE": HANDLERS},  # one record, one unit
    }
}
