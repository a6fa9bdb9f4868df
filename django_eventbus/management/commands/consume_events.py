"""Hand events to this project's handlers: for ever, so many, or up to what is there now."""

from __future__ import annotations

import json
import threading
import time
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_eventbus.bus import DEFAULT, Bus, buses
from django_eventbus.consumer.local_queue import LocalQueue
from django_eventbus.consumer.members import run_members
from django_eventbus.consumer.membership import ConsumerFailed, WorkerReport
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.management.arguments import positive, seconds
from django_eventbus.management.children import KeepsCrashing, run_children, stop_when_orphaned
from django_eventbus.management.collecting import collect_rarely
from django_eventbus.management.progress import Progress
from django_eventbus.management.stopping import stop_on_signals
from django_eventbus.management.topics import prepare_topics

COUNTS = ("messages", "handled", "duplicates", "retried", "dead_lettered", "skipped")


class Command(BaseCommand):
    """Exit with 0 when done or stopped, 1 when it failed, 2 for wrong usage, 3 when --timeout was over first."""

    help = "Consume the topics of this project's handlers from the broker."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as the process's own command; `call_command` leaves its caller's collector alone."""
        collect_rarely()
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bus", default=DEFAULT, help="The bus whose topics are meant (default: %(default)s).")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--group", help="Consume this group only (default: all groups of the bus).")
        which.add_argument("--apps", nargs="+", metavar="APP", help="Consume the groups of these apps only.")
        parser.add_argument("--processes", type=positive, default=1, help="Share partitions among so many processes.")
        parser.add_argument("--concurrency", type=positive, help="Threads (default: CONSUMER['CONCURRENCY']).")
        parser.add_argument("--max-messages", type=positive, help="End after so many messages of each group.")
        parser.add_argument("--until-caught-up", action="store_true", help="End when all is handled that is there now.")
        parser.add_argument("--timeout", type=seconds, help="With --until-caught-up: give up after so many seconds.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object at the end instead of text.")
        parser.add_argument("--instance", help=SUPPRESS)  # which of --processes this one is

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_combinations(options)
        try:
            bus = buses[options["bus"]]
            groups = choose_groups(bus, name=options["group"], apps=options["apps"])
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        began = time.monotonic()
        self._progress = Progress(self.stderr, verbosity=options["verbosity"])
        with stop_on_signals() as stop:
            run = self._share_out if options["processes"] > 1 and options["instance"] is None else self._consume
            try:
                if options["instance"] is None:
                    topics = {topic for group in groups for topic in group.topics}
                    prepare_topics(bus, topics, stop=stop, warn=self.stderr.write)
                else:
                    stop_when_orphaned(stop)
                outcome, code = run(bus, groups, stop, options)
                if code == 0 and options["until_caught_up"] and options["instance"] is None and not stop.is_set():
                    code = self._empty_local_queue(bus, outcome, stop, left=_time_left(options["timeout"], began))
            except ConfigurationError as exc:
                raise CommandError(str(exc), returncode=2) from exc
        self._progress.clear()
        self._report(bus, outcome, seconds=time.monotonic() - began, as_json=options["json"])
        if code:
            raise SystemExit(code)

    def _consume(
        self, bus: Bus, groups: Sequence[HandlerGroup], stop: threading.Event, options: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        workers = [
            bus.open_worker(
                group, concurrency=options["concurrency"], instance=options["instance"] or "0", on_progress=self._show
            )
            for group in groups
        ]
        # Of several processes the first one: the queue has one relay at work, and other commands stand by for it.
        carries_queue = options["instance"] in {None, "0"}
        patience = bus.config.consumer.shutdown_timeout.total_seconds()
        queue = LocalQueue(bus.local.open_relay, stop, patience=patience) if carries_queue else None
        try:
            with queue or nullcontext():
                reports = run_members(
                    workers,
                    stop,
                    max_messages=options["max_messages"],
                    until_caught_up=options["until_caught_up"],
                    timeout=options["timeout"],
                )
        except ConsumerFailed as exc:
            raise CommandError(str(exc)) from exc
        outcome = {
            **{name: sum(getattr(report, name) for report in reports) for name in COUNTS},
            "local": queue.report.sent if queue else 0,
            "is_caught_up": all(report.is_caught_up for report in reports),
            "is_clean": all(report.is_clean for report in reports) and (queue is None or queue.is_clean),
        }
        if not outcome["is_clean"]:
            self.stderr.write("Handlers were still running after CONSUMER['SHUTDOWN_TIMEOUT']; they will run again.")
            return outcome, 1
        return outcome, 3 if any(report.is_timed_out for report in reports) else 0

    def _empty_local_queue(
        self, bus: Bus, outcome: dict[str, Any], stop: threading.Event, *, left: float | None
    ) -> int:
        """Carry out what the caught-up workers have left there; a relay at work elsewhere does it for this one."""
        report = bus.local.open_relay().run(stop, until_empty=True, timeout=left)
        outcome["local"] += report.sent
        outcome["is_caught_up"] = outcome["is_caught_up"] and report.is_empty
        return 0 if report.is_empty or stop.is_set() else 3

    def _share_out(
        self, bus: Bus, groups: Sequence[HandlerGroup], stop: threading.Event, options: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        command = ["consume_events", "--bus", bus.config.alias, "--json", "--verbosity", "0"]
        command += ["--group", options["group"]] if options["group"] else []
        command += ["--apps", *options["apps"]] if options["apps"] else []
        command += ["--concurrency", str(options["concurrency"])] if options["concurrency"] else []
        command += ["--until-caught-up"] if options["until_caught_up"] else []
        command += ["--timeout", str(options["timeout"])] if options["timeout"] else []
        count = options["processes"]
        try:
            children = run_children([[*command, "--instance", str(number)] for number in range(count)], stop)
        except KeepsCrashing as exc:
            raise CommandError(str(exc)) from exc
        reports = [json.loads(child.output) for child in children if child.output]
        outcome = {
            **{name: sum(report[name] for report in reports) for name in (*COUNTS, "local")},
            "is_caught_up": len(reports) == count and all(report["is_caught_up"] for report in reports),
            "is_clean": len(reports) == count and all(report["is_clean"] for report in reports),
        }
        return outcome, max((child.code or 0 for child in children), default=0)

    def _report(self, bus: Bus, outcome: dict[str, Any], *, seconds: float, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"bus": bus.config.alias, **outcome, "seconds": round(seconds, 3)}))
            return
        end = "; caught up" if outcome["is_caught_up"] else ""
        shown = (*COUNTS, "local") if outcome["local"] else COUNTS
        counts = ", ".join(f"{name.replace('_', ' ')} {outcome[name]}" for name in shown)
        self.stdout.write(f"{counts} in {seconds:.1f} s{end}")

    def _show(self, report: WorkerReport) -> None:
        self._progress.show(f"messages {report.messages}")


def choose_groups(bus: Bus, *, name: str | None, apps: Sequence[str] | None) -> list[HandlerGroup]:
    """Return the groups to consume; raise ConfigurationError where there is nothing, or not the whole of a group."""
    alias, groups, known = bus.config.alias, bus.groups, bus.local.groups
    if not bus.transport.capabilities.consumable:
        raise ConfigurationError(
            f"EVENTBUS[{alias!r}]['TRANSPORT'] is {bus.config.transport}, where the relay itself runs the handlers: "
            f"there is nothing to consume. Run drain_outbox instead, or set a transport with a broker."
        )
    if not known:
        raise ConfigurationError(f"No handler is declared for bus {alias!r}. Write @handler functions in handlers.py.")
    if name is not None:
        if name not in known:
            raise ConfigurationError(f"No handler belongs to group {name!r}; groups are {', '.join(known)}.")
        return [groups[name]] if name in groups else []  # one of domain events alone needs no worker
    return [group for group in groups.values() if apps is None or _belongs_to(group, apps)]


def _belongs_to(group: HandlerGroup, apps: Sequence[str]) -> bool:
    labels = {handler.app_label for handler in group.handlers}
    if labels.isdisjoint(apps):
        return False
    others = sorted(str(label) for label in labels.difference(apps))
    if others:
        # Members of one group must hold all its handlers, or events of a shared topic would reach only one of them.
        raise ConfigurationError(
            f"Group {group.name!r} also belongs to {', '.join(others)}. Name these apps too, or give each app "
            f"a group of its own with AppConfig.eventbus_group."
        )
    return True


def _refuse_combinations(options: dict[str, Any]) -> None:
    if options["timeout"] is not None and not options["until_caught_up"]:
        raise CommandError("--timeout is the patience of --until-caught-up: give both.", returncode=2)
    if options["max_messages"] is not None and options["processes"] > 1:
        raise CommandError("--max-messages counts in one process: leave out --processes.", returncode=2)


def _time_left(timeout: float | None, began: float) -> float | None:
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
