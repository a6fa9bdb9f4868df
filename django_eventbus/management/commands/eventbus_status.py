"""Show how much waits in each table, since when, and which messages are in trouble."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_eventbus.bus import buses
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.models.depths import CAP, Depth, Depths, Part, RecurringStanding, measure


class Command(BaseCommand):
    """Exit with 0 whatever is found, or with 2 for wrong usage."""

    help = f"Show depth and age of each table, on every database. Looks at {CAP} rows of each at most, and says so."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bus", help="Only the databases of this bus (default: of every one in EVENTBUS).")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = [measure(alias) for alias in self._databases(options["bus"])]
        if options["json"]:
            self.stdout.write(json.dumps({"databases": [asdict(depths) for depths in found]}, default=_as_text))
            return
        now = timezone.now()
        for depths in found:
            for line in lines(depths, now=now):
                self.stdout.write(line)

    def _databases(self, alias: str | None) -> Sequence[str]:
        try:
            return buses.databases() if alias is None else buses.databases(alias)
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc


def lines(depths: Depths, *, now: datetime) -> Iterator[str]:
    """Write what was found on one database for people."""
    yield f"database {depths.using}"
    for depth in depths.tables:
        yield f"  {depth.table.removeprefix('eventbus_'):16} {_count(depth):>24}  {_age(depth.oldest_at, now)}".rstrip()
        for part in depths.parts:
            if part.table == depth.table:
                yield f"      {part.rows:8} {_name(part)}  {_age(part.oldest_at, now)}"
    for lane in depths.lanes:
        what = "topic" if lane.is_whole else f"{lane.count} keys of"
        until = "until a verdict" if lane.is_held else "for another try"
        yield f"  waits {until}: {what} {lane.topic} of bus {lane.bus}, {lane.reason}"
    for recurring in depths.recurring:
        yield f"  recurs: {recurring.name} of bus {recurring.bus}, {_standing(recurring)}"


def _standing(recurring: RecurringStanding) -> str:
    if recurring.is_paused:
        return "paused"
    coming = "never again" if recurring.next_at is None else f"next {recurring.next_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{coming}, failed {recurring.failures} times" if recurring.failures else coming


def _count(depth: Depth) -> str:
    if not depth.is_capped:
        return str(depth.rows)
    return f"> {depth.rows}" + (f" (about {depth.estimate})" if depth.estimate is not None else "")


def _name(part: Part) -> str:
    return " ".join(text or "(no handler)" for text in part.name)


def _age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    seconds = round((now - moment).total_seconds())
    return f"oldest {timedelta(seconds=seconds)}" if seconds >= 0 else f"next in {timedelta(seconds=-seconds)}"


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
