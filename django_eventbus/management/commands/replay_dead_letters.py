"""Run dead letters again: the failed handlers alone, each message at its old place."""

from __future__ import annotations

import getpass
import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from django_eventbus.bus import DEFAULT, buses
from django_eventbus.delivery.registry import handlers
from django_eventbus.delivery.replay import replay
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.management.arguments import positive
from django_eventbus.models import DeadLetter
from django_eventbus.models.dead_letter import Selection

AT_ONCE = 500  # dead letters in one transaction

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    """Exit with 0 when all were queued, 1 when some were refused, 2 for wrong usage."""

    help = "Replay the dead letters that the filters select, or all that are dead on this bus."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--bus", default=DEFAULT, help="The bus whose dead letters are meant (default: %(default)s)."
        )
        parser.add_argument("--handler", help="Only those of this handler, such as billing.issue_invoice.")
        parser.add_argument("--event", help="Only those of this event, such as shop.orders.order-placed.")
        parser.add_argument("--exception", help="Only those with this exception, such as OperationalError.")
        parser.add_argument(
            "--since", type=since, help="Only those that died since: 2026-01-31, 2026-01-31T12:00, 30m, 2h, 7d."
        )
        parser.add_argument("--all", action="store_true", help="All that are dead; instead of filters and a limit.")
        parser.add_argument("--limit", type=positive, help="At most so many, the oldest first.")
        parser.add_argument("--reason", default="", help="Why; kept with the record of this act.")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be replayed.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            config = buses[options["bus"]].config
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        chosen = Selection(
            bus=config.alias,
            handler=options["handler"],
            event=options["event"],
            exception=options["exception"],
            since=options["since"],
        )
        _require_choice(options)
        aliases = buses.databases(config.alias)
        _require_handler(chosen, aliases)
        if options["dry_run"]:
            self._count(aliases, chosen, options)
        else:
            self._replay(aliases, chosen, options)

    def _count(self, aliases: Sequence[str], chosen: Selection, options: dict[str, Any]) -> None:
        left, causes = options["limit"], []
        for alias in aliases:
            ids = DeadLetter.objects.using(alias).dead(chosen).values_list("id", flat=True)[:left]
            found = DeadLetter.objects.using(alias).filter(id__in=list(ids)).by_cause()
            causes += [(alias, *cause) for cause in found]
            left = None if left is None else left - sum(count for *_, count in found)
        total = sum(count for *_, count in causes)
        if options["json"]:
            names = ("database", "handler", "exception", "count")
            self.stdout.write(
                json.dumps(
                    {"dry_run": True, "total": total, "causes": [dict(zip(names, c, strict=True)) for c in causes]}
                )
            )
            return
        for _, handler, exception, count in causes:
            self.stdout.write(f"{count:8} {handler or '(no handler)'}  {exception or '(no exception)'}")
        self.stdout.write(f"{total:8} would be replayed")

    def _replay(self, aliases: Sequence[str], chosen: Selection, options: dict[str, Any]) -> None:
        command, actor = uuid4(), f"command line: {os_user()}"
        done = 0
        refused: dict[int, str] = {}
        for alias in aliases:
            left = None if options["limit"] is None else options["limit"] - done
            ids = list(DeadLetter.objects.using(alias).dead(chosen).values_list("id", flat=True)[:left])
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                report = replay(part, actor=actor, reason=options["reason"], using=alias, command_id=command)
                done += len(report.done)
                refused.update(report.refused)
                self._progress(f"{done} of {len(ids)}")
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": False, "replayed": done, "refused": refused}))
        else:
            self.stdout.write(f"replayed {done}, refused {len(refused)}")
        for number, why in {} if options["json"] else refused.items():
            self.stderr.write(f"{number}: {why}")
        if refused:
            raise SystemExit(1)

    def _progress(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"{text}\x1b[K\r", style_func=str, ending="")


def _require_choice(options: dict[str, Any]) -> None:
    is_narrowed = any(options[name] is not None for name in ("handler", "event", "exception", "since", "limit"))
    if options["all"] and is_narrowed:
        raise CommandError("--all excludes filters and --limit. Leave one of them out.", returncode=2)
    if not (options["all"] or is_narrowed or options["dry_run"]):
        raise CommandError("No filter is given. Name a --handler, or write --all to replay everything.", returncode=2)


def _require_handler(chosen: Selection, aliases: Sequence[str]) -> None:
    """Tell a name that stands for nothing: "replayed 0" would look as if nothing were dead."""
    if not chosen.handler or handlers.find(chosen.handler) is not None:
        return
    known = {name for declared in handlers.all() for name in declared.names}
    for alias in aliases:
        buried = DeadLetter.objects.using(alias).filter(bus=chosen.bus)
        known.update(buried.exclude(handler="").values_list("handler", flat=True).distinct())
    if chosen.handler not in known:
        likely = get_close_matches(chosen.handler, sorted(known), n=1)
        hint = f"Did you mean {likely[0]!r}?" if likely else "`manage.py eventbus_describe` lists them."
        raise CommandError(f"{chosen.handler!r} is no handler, and has no dead letter. {hint}", returncode=2)


def since(text: str) -> datetime:
    """Read a date, a time, or how long ago."""
    if ago := _AGO.fullmatch(text):
        return timezone.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        day = parse_date(text)
        moment = parse_datetime(text) if day is None else datetime(day.year, day.month, day.day)  # noqa: DTZ001
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r} is no date: {exc}") from exc
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is neither a date, a time, nor a duration such as 30m, 2h or 7d")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def os_user() -> str:
    """Name who runs this; some containers have a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
