"""What is the Django project of a peer: its own app alone, on a database of its own, with the settings it documents?"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection, models

from benchmarks import settings


def begin(app: str, **own: Any) -> None:
    """Configure Django for this process, and make the tables of the peer."""
    django_settings.configure(
        SECRET_KEY="only for benchmarks",
        USE_TZ=True,
        DATABASES=settings.DATABASES,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[app],
        **own,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def fill(model: type[models.Model], rows: list[Any]) -> None:
    """Replace what a table holds, and let the server finish what it does after such an insert."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
        model._default_manager.bulk_create(rows, batch_size=1000)
        cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("CHECKPOINT")
