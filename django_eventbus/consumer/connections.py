"""When does a long-lived thread let go of its database connections?"""

from __future__ import annotations

from django.db import connections


def refresh_connections() -> None:
    """Close connections that are broken or too old; called between units, never inside one.

    CONN_MAX_AGE=0 means "close after the request": taken literally it would open a connection for every unit of work.
    Such connections stay open while their thread has work; `close_connections` closes them when it has none.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        if connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"] != 0:
            connection.close_if_unusable_or_obsolete()


def close_connections() -> None:
    """Close this thread's connections; it has nothing to do, or ends."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
