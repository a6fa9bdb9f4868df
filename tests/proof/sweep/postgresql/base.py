from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base

from tests.proof.sweep import counted_psycopg


class DatabaseWrapper(base.DatabaseWrapper):
    Database: Any = counted_psycopg
