"""How a server's address becomes an entry of DATABASES."""

from __future__ import annotations

import os
from typing import Any

CHOICE = "EVENTBUS_TEST_DATABASE"


def postgres_is_default() -> bool:
    """Say whether the suite runs on PostgreSQL: where it is there, unless SQLite is asked for."""
    if os.environ.get(CHOICE) == "sqlite":
        return False
    try:
        from tests.services import postgres
    except ImportError:
        return False
    return postgres.is_available()


def on_postgres(url: str, name: str | None = None) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    parameters = conninfo_to_dict(url)
    database = parameters.pop("dbname", "postgres")
    fields = {key.upper(): parameters.pop(key, "") for key in ("user", "password", "host", "port")}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name or database, **fields, "OPTIONS": parameters}


def on_sqlite(name: str) -> dict[str, Any]:
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
