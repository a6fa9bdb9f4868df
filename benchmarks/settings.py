"""The project that is measured: what the parent process has put into the environment."""

from __future__ import annotations

import os
from typing import Any

from tests.services import databases

POSTGRES, DATABASE, KAFKA = "BENCH_POSTGRES", "BENCH_DATABASE", "BENCH_KAFKA"
GROUP, TOPIC, HANDLERS = "BENCH_GROUP", "BENCH_TOPIC", "BENCH_HANDLERS"
CONCURRENCY, MAX_IN_FLIGHT = "BENCH_CONCURRENCY", "BENCH_MAX_IN_FLIGHT"

SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_eventbus", "benchmarks.shop"]

DATABASES: dict[str, Any] = {
    "default": databases.on_postgres(os.environ[POSTGRES], os.environ[DATABASE])
    if POSTGRES in os.environ
    else databases.on_sqlite(":memory:")
}

EVENTBUS: dict[str, Any] = {
    "default": {
        "TRANSPORT": "kafka",
        "SERVICE": "bench",
        "ENVIRONMENT": "bench",
        "GROUP": os.environ.get(GROUP, "bench"),
        "OPTIONS": {"bootstrap.servers": os.environ.get(KAFKA, "127.0.0.1:9092")},
        "CONSUMER": {
            "CONCURRENCY": int(os.environ.get(CONCURRENCY, "4")),
            "MAX_IN_FLIGHT": int(os.environ.get(MAX_IN_FLIGHT, "1000")),
        },
    }
}
