"""Delete what the retention settings allow, in short transactions."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_eventbus.bus import buses
from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.management.stopping import stop_on_signals
from django_eventbus.models import ControlFlag
from django_eventbus.models.purging import purge_archive, purge_dead_letters, purge_inbox, purge_sagas
from django_eventbus.sagas.declaration import sagas


@dataclass(slots=True, kw_only=True)
class Purge:
    """Be one table's share of the work."""

    database: str
    table: str
    bus: str  # empty: the rows of all buses, which the inbox does not tell apart
    before: datetime
    chunks: Iterator[int]
    rows: int = 0


class Command(BaseCommand):
    """Exit with 0, also when stopped early: what is left goes with the next run. Exit with 2 for wrong usage."""

    help = (
        "Delete handled messages from the inbox after INBOX['RETENTION'], sent events from the archive after "
        "OUTBOX['RETENTION'], dead letters that were replayed or discarded after DEAD_LETTER['RETENTION'], and sagas "
        "that ended after their own retention or SAGA['RETENTION']. What is not sent, waits, runs, or has no verdict "
        "yet is never deleted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bus", help="Only the databases of this bus (default: of every one in EVENTBUS).")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be deleted.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")

    def handle(self, *args: Any, **options: Any) -> None:
        purges = plan(self._configs(options["bus"]), now=timezone.now(), is_dry_run=options["dry_run"])
        with stop_on_signals() as stop:
            for purge in purges:
                while not stop.is_set() and (count := next(purge.chunks, None)) is not None:
                    purge.rows += count
                    self._progress(f"{purge.table}: {purge.rows}")
        self._tell(purges, options)

    def _configs(self, alias: str | None) -> list[BusConfig]:
        try:
            return [bus.config for bus in buses.values()] if alias is None else [buses[alias].config]
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc

    def _tell(self, purges: list[Purge], options: dict[str, Any]) -> None:
        if options["json"]:
            fields = ("database", "table", "bus", "before", "rows")
            told = [{name: getattr(purge, name) for name in fields} for purge in purges]
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], "purged": told}, default=str))
            return
        done = "would go" if options["dry_run"] else "deleted"
        for purge in purges:
            of_bus = f" of bus {purge.bus}" if purge.bus else ""
            where = f"{purge.table}{of_bus} on {purge.database}"
            self.stdout.write(f"{purge.rows:10} {done} from {where}, older than {purge.before:%Y-%m-%d %H:%M}")

    def _progress(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"{text}\x1b[K\r", style_func=str, ending="")


def plan(configs: Sequence[BusConfig], *, now: datetime, is_dry_run: bool) -> list[Purge]:
    """Say what may go where; nothing is touched until the chunks are taken."""
    purges: list[Purge] = []
    # The inbox does not tell buses apart: what one of them still has to know stays.
    handled_before = now - max(bus.config.inbox.retention for bus in buses.values())
    for alias in buses.databases(*(config.alias for config in configs)):
        chunks = purge_inbox(alias, before=handled_before, is_dry_run=is_dry_run)
        purges.append(Purge(database=alias, table="eventbus_inbox", bus="", before=handled_before, chunks=chunks))
    for config in configs:
        for queue in config.queues:
            purges += _sent(queue, now, is_dry_run=is_dry_run)
        purges += _closed(config, now, is_dry_run=is_dry_run)
        purges += _ended(config, now, is_dry_run=is_dry_run)
    return purges


def _sent(config: BusConfig, now: datetime, *, is_dry_run: bool) -> Iterator[Purge]:
    if config.outbox.retention is None:
        return  # there is no archive
    before, alias = now - config.outbox.retention, config.database
    number = ControlFlag.objects.using(alias).bus_number(config.alias)
    chunks = purge_archive(alias, bus=number, before=before, is_dry_run=is_dry_run)
    yield Purge(database=alias, table="eventbus_sent", bus=config.alias, before=before, chunks=chunks)


def _closed(config: BusConfig, now: datetime, *, is_dry_run: bool) -> Iterator[Purge]:
    if config.dead_letter.retention is None:
        return  # kept for ever
    before = now - config.dead_letter.retention
    for alias in buses.databases(config.alias):
        chunks = purge_dead_letters(alias, bus=config.alias, before=before, is_dry_run=is_dry_run)
        yield Purge(database=alias, table="eventbus_dead_letter", bus=config.alias, before=before, chunks=chunks)


def _ended(config: BusConfig, now: datetime, *, is_dry_run: bool) -> Iterator[Purge]:
    own = {saga.name: saga.retention for saga in sagas.all() if saga.retention is not None}
    kept_for: list[tuple[str | None, timedelta]] = list(own.items())
    if config.saga.retention is not None:  # else kept for ever
        kept_for.append((None, config.saga.retention))
    for alias in buses.databases(config.alias):
        for name, retention in kept_for:
            before = now - retention
            chunks = purge_sagas(
                alias, bus=config.alias, before=before, only=name, but=own.keys(), is_dry_run=is_dry_run
            )
            yield Purge(database=alias, table="eventbus_saga_state", bus=config.alias, before=before, chunks=chunks)
