"""Send what waits in the outbox: for ever, until nothing is left, or one pass."""

from __future__ import annotations

import json
import threading
import time
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_eventbus.bus import DEFAULT, Bus, buses
from django_eventbus.conf.sections import SHARDS
from django_eventbus.events.naming import topic_of
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.management.arguments import seconds
from django_eventbus.management.children import KeepsCrashing, run_children, stop_when_orphaned
from django_eventbus.management.progress import Progress
from django_eventbus.management.stopping import stop_on_signals
from django_eventbus.management.topics import prepare_topics
from django_eventbus.outbox.relay import RelayReport

COUNTS = ("sent", "dead_lettered", "parked")


class Command(BaseCommand):
    """Exit with 0 when done or stopped, 1 when it failed, 2 for wrong usage, 3 when --timeout was over first."""

    help = "Relay the events of the outbox to the broker, or to the handlers where there is none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bus", default=DEFAULT, help="The bus whose outbox is meant (default: %(default)s).")
        until = parser.add_mutually_exclusive_group()
        until.add_argument("--until-empty", action="store_true", help="End when nothing waits (but for held keys).")
        until.add_argument("--once", action="store_true", help="End after one pass.")
        parser.add_argument("--timeout", type=seconds, help="With --until-empty: give up after so many seconds.")
        parser.add_argument(
            "--relays",
            type=relays,
            help="Share the work among so many processes (default: OUTBOX['RELAYS']).",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object at the end instead of text.")
        parser.add_argument("--share", type=share, help=SUPPRESS)  # k/n: this process is one of those

    def handle(self, *args: Any, **options: Any) -> None:
        if options["timeout"] is not None and not options["until_empty"]:
            raise CommandError("--timeout is the patience of --until-empty: give both.", returncode=2)
        try:
            bus = buses[options["bus"]]
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        began = time.monotonic()
        self._progress = Progress(self.stderr, verbosity=options["verbosity"])
        with stop_on_signals() as stop:
            count = options["relays"] or bus.config.outbox.relays
            try:
                if count > 1 and options["share"] is None:
                    outcome, code = self._share_out(bus, count, stop, options)
                else:
                    outcome, code = self._relay(bus, stop, options)
            except ConfigurationError as exc:
                raise CommandError(str(exc), returncode=2) from exc
        self._progress.clear()
        self._report(bus, outcome, seconds=time.monotonic() - began, as_json=options["json"])
        if code:
            raise SystemExit(code)

    def _relay(self, bus: Bus, stop: threading.Event, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        place, shares = options["share"] or (0, 1)
        if options["share"] is None:
            self._prepare_topics(bus, stop)
        else:
            stop_when_orphaned(stop)
        relay = bus.open_relay(share=place, shares=shares, on_progress=self._show)
        report = relay.run(stop, until_empty=options["until_empty"], timeout=options["timeout"], once=options["once"])
        outcome = {name: getattr(report, name) for name in (*COUNTS, "is_empty")}
        is_unfinished = options["until_empty"] and not report.is_empty and not stop.is_set()
        return outcome, 3 if is_unfinished else 0

    def _share_out(
        self, bus: Bus, count: int, stop: threading.Event, options: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        self._prepare_topics(bus, stop)
        command = ["drain_outbox", "--bus", bus.config.alias, "--json", "--verbosity", "0"]
        command += ["--until-empty"] if options["until_empty"] else []
        command += ["--once"] if options["once"] else []
        command += [] if options["timeout"] is None else ["--timeout", str(options["timeout"])]
        try:
            children = run_children([[*command, "--share", f"{place}/{count}"] for place in range(count)], stop)
        except KeepsCrashing as exc:
            raise CommandError(str(exc)) from exc
        reports = [json.loads(child.output) for child in children if child.output]
        outcome: dict[str, Any] = {name: sum(report[name] for report in reports) for name in COUNTS}
        outcome["is_empty"] = len(reports) == count and all(report["is_empty"] for report in reports)
        return outcome, max((child.code or 0 for child in children), default=0)

    def _prepare_topics(self, bus: Bus, stop: threading.Event) -> None:
        topics = {topic_of(contract, bus.config) for contract in events.all() if contract.is_sent_from_here}
        prepare_topics(bus, topics, stop=stop, warn=self.stderr.write)

    def _report(self, bus: Bus, outcome: dict[str, Any], *, seconds: float, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"bus": bus.config.alias, **outcome, "seconds": round(seconds, 3)}))
            return
        left = "the outbox is empty" if outcome["is_empty"] else "stopped before the outbox was seen empty"
        self.stdout.write(
            f"sent {outcome['sent']}, refused {outcome['dead_lettered']}, parked {outcome['parked']}; {left}"
        )

    def _show(self, report: RelayReport) -> None:
        self._progress.show(f"{report.state.value}: sent {report.sent}")


def relays(text: str) -> int:
    """Read how many processes share the work."""
    if not text.isdecimal() or not 1 <= int(text) <= SHARDS:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {SHARDS}")
    return int(text)


def share(text: str) -> tuple[int, int]:
    """Read `k/n`: share k of n."""
    place, _, count = text.partition("/")
    return int(place), int(count)
