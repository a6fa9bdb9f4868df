"""Would this change and this event commit together?"""

from __future__ import annotations

import asyncio
import os

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import NotPublishable, TransactionRequired


def alias_of(config: BusConfig, using: str | None) -> str:
    """Return the database alias that a publish writes to; raise NotPublishable where no relay of the bus reads."""
    if using is None or using == config.database:
        return config.database
    raise NotPublishable(
        f"using={using!r}: the relay of bus {config.alias!r} reads database {config.database!r}, so an event written "
        f"to {using!r} would never be sent. Publish on a bus whose DATABASE is {using!r} "
        f"(EVENTBUS = {{..., {using!r}: {{'DATABASE': {using!r}, ...}}}}, then bus={using!r})."
    )


def require_transaction(config: BusConfig, connection: BaseDatabaseWrapper, *, verb: str = "publish") -> None:
    """Raise TransactionRequired unless what is written on this connection commits with the caller's changes."""
    if is_in_transaction(connection):
        return
    _refuse_coroutine(verb)
    if is_manual(connection):
        return
    alias = connection.alias
    refuse_split(alias, verb=verb)
    if config.require_atomic:
        raise TransactionRequired(
            f"{verb}() was called outside a transaction on database {alias!r}, so what it does could survive a change "
            f"that fails. Wrap both: with transaction.atomic({_using(alias)}): change(); {verb}(...). "
            f"EVENTBUS[{config.alias!r}]['REQUIRE_ATOMIC'] = False allows it."
        )


def refuse_split(alias: str, *, verb: str = "publish") -> None:
    """Raise TransactionRequired while some other database is in a transaction and this one is not."""
    for other in connections.all(initialized_only=True):
        if other.alias != alias and (is_in_transaction(other) or (other.connection is not None and is_manual(other))):
            raise TransactionRequired(
                f"{verb}() writes to database {alias!r}, which is not in a transaction, while database "
                f"{other.alias!r} is: that change and this event would not commit together. Open "
                f"transaction.atomic({_using(alias)}) around {verb}(), or use a bus whose DATABASE is {other.alias!r}."
            )


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Say whether an atomic block is open that a test case did not open around the whole test."""
    blocks = connection.atomic_blocks
    # Test cases open theirs first, so the innermost block tells.
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)


def is_manual(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the caller commits by hand, after `set_autocommit(False)`."""
    return not connection.in_atomic_block and not connection.get_autocommit()


def _using(alias: str) -> str:
    return "" if alias == "default" else f"using={alias!r}"


def _refuse_coroutine(verb: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        instead = "Await apublish()" if verb == "publish" else "Call it in a sync function through sync_to_async"
        raise TransactionRequired(f"{verb}() was called in a coroutine, where no transaction can be open. {instead}.")
