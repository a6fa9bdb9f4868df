"""Show events, topics, keys, handlers, sagas, groups and policies as they really are."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_eventbus.bus import buses
from django_eventbus.delivery.description import (
    Description,
    Entry,
    EventDescription,
    GroupDescription,
    HandlerDescription,
    PolicyDescription,
    describe,
)
from django_eventbus.delivery.registry import handlers
from django_eventbus.exceptions import ConfigurationError
from django_eventbus.recurrence.description import RecurringDescription, describe_recurring
from django_eventbus.recurrence.registry import recurrings
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.description import RouteDescription, SagaDescription, describe_sagas


class Command(BaseCommand):
    """Exit with 0, or with 2 where the name is not known."""

    help = "Show what is declared and how it is wired; contacts no broker and no database."
    requires_system_checks: list[str] = []  # it helps to find what the checks complain about

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="Explain one event, topic, handler, saga, group, recurring event.")
        parser.add_argument("--bus", help="Only this bus (default: every one in EVENTBUS).")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            chosen = list(buses) if options["bus"] is None else [options["bus"]]
            whole = describe(handlers.all(), [buses[alias].config for alias in chosen])
            recurring = describe_recurring(recurrings.all(), chosen, now=timezone.now())
        except ConfigurationError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        name = options["name"]
        shown = whole if name is None else whole.about(name)
        recur = [each for each in recurring if name is None or name in each.names]
        if name is not None and shown.is_empty and not recur:
            known = {known for each in recurring for known in each.names}
            likely = ", ".join(map(repr, [*whole.likely(name), *get_close_matches(name, known, n=1)]))
            hint = f" Did you mean {likely}?" if likely else " Without a name this command lists everything."
            raise CommandError(
                f"{name!r} is no event, topic, handler, saga, group or recurring event here.{hint}", returncode=2
            )
        found = describe_sagas(sagas.all(), handlers=[handler.name for handler in shown.handlers])
        if options["json"]:
            above: dict[str, Sequence[Any]] = {"sagas": found, "recurring": recur}
            more = {chapter: [dataclasses.asdict(each) for each in entries] for chapter, entries in above.items()}
            self.stdout.write(json.dumps({**shown.as_dict(), **more}))
            return
        for line in (*lines(shown, in_full=name is not None), *saga_lines(found, in_full=name is not None)):
            self.stdout.write(line)
        for line in recurring_lines(recur, in_full=name is not None):
            self.stdout.write(line)


def lines(description: Description, *, in_full: bool) -> list[str]:
    """Write a description for people; `in_full` explains each entry over several lines."""
    sections: dict[str, Sequence[Entry]] = {
        "Events": description.events,
        "Handlers": description.handlers,
        "Groups": description.groups,
    }
    written: list[str] = []
    for title, entries in sections.items():
        if not entries and in_full:
            continue
        written += [title, *([] if entries else ["  none"])]
        for entry in entries:
            head, details = _told(entry)
            written += [f"  {head}", *(f"      {name}: {text}" for name, text in details if in_full)]
    return written


def recurring_lines(recurring: Sequence[RecurringDescription], *, in_full: bool) -> list[str]:
    """Write what recurs for people."""
    told = [f"  {line}" for each in recurring for line in each.lines(in_full=in_full)]
    return ["Recurring events", *told] if told else []


def saga_lines(found: Sequence[SagaDescription], *, in_full: bool) -> list[str]:
    """Write sagas for people; `in_full` shows what each takes, and its diagram."""
    written = ["Sagas"] if found else []
    for saga in found:
        kind = "model" if saga.is_model else f"version {saga.state_version}"
        written.append(f"  {saga.name} keeps {saga.state} ({kind}), concurrency {saga.concurrency}")
        if in_full:
            written += [f"      {line}" for line in (*map(_route, saga.routes), *_timeouts(saga), "diagram:")]
            written += [f"        {line}" for line in saga.diagram.splitlines()]
    return written


def _route(route: RouteDescription) -> str:
    ways = [f"starts by {route.starts}"] if route.starts else []
    ways += [f"continues by {route.continues}"] if route.continues else []
    return f"{route.event}: {', '.join(ways)}, key {route.key}, without instance {route.not_found}"


def _timeouts(saga: SagaDescription) -> list[str]:
    return [f"timeout {name}: {method}" for name, method in saga.timeouts.items()]


def _told(entry: Entry) -> tuple[str, list[tuple[str, str]]]:
    match entry:
        case EventDescription():
            return _event(entry)
        case HandlerDescription():
            return _handler(entry)
        case GroupDescription():
            return _group(entry)


def _event(event: EventDescription) -> tuple[str, list[tuple[str, str]]]:
    version = f" v{event.version}" if event.version else ""
    place = f"on {event.topic}" if event.dispatch is None else f"inside the service, {_dispatch(event)}"
    kind = " (external)" if event.is_external else ""
    takers = ", ".join(event.handlers) or "no handler"
    return f"{event.name}{version}{kind} {place} [{event.bus}] -> {takers}", [
        ("class", event.declared_as),
        ("key", event.key),
        ("deprecated", event.deprecated or "no"),
        *([] if event.dispatch is None else [("translated by", ", ".join(event.translators) or "nothing")]),
    ]


def _dispatch(event: EventDescription) -> str:
    match event.dispatch:
        case "inline":
            return "in the transaction that publishes it"
        case "on_commit":
            return "after the commit, in the same process"
        case _:
            return f"queued on {event.topic}"


def _handler(handler: HandlerDescription) -> tuple[str, list[tuple[str, str]]]:
    run = f"as a task in {handler.handle_in.capitalize()}, " if handler.handle_in else ""
    run += "async, " if handler.is_async else ""
    run += f"batches of {handler.batch}, " if handler.batch else ""
    run += f"in a transaction on {handler.database!r}" if handler.atomic else "outside of a transaction"
    return f"{handler.name} takes {', '.join(handler.events)} in group {handler.group} [{handler.bus}]", [
        ("function", handler.declared_as),
        ("former names", ", ".join(handler.aliases) or "none"),
        ("versions", "all it can read" if handler.versions is None else ", ".join(handler.versions)),
        ("runs", run + (f", at most {handler.timeout:g} s" if handler.timeout else "")),
        ("order", "later events of a key wait while one is retried" if handler.ordered else "none"),
        *([] if handler.state is None else [("state", f"{handler.state}, one writer per key")]),
        ("duplicates", _duplicates(handler)),
        ("retries", _policy(handler.retry)),
        (
            "after a dead letter",
            "its key waits for a verdict" if handler.on_dead_letter == "hold_key" else "its key goes on",
        ),
    ]


def _duplicates(handler: HandlerDescription) -> str:
    if handler.idempotent:
        return "run again: the handler is idempotent"
    return "found by dedupe_key" if handler.dedupe_key else "found by event id"


def _policy(policy: PolicyDescription) -> str:
    delays = ", ".join(f"{delay:g}" for delay in policy.delays)
    text = f"{policy.max_attempts} attempts" + (f", after {delays} s" if delays else "")
    text += f", never for {', '.join(policy.never)}" if policy.never else ""
    text += f", only for {', '.join(policy.only)}" if policy.only is not None else ""
    return f"{text} ({'its own policy' if policy.is_own else 'RETRY of the bus'})"


def _group(group: GroupDescription) -> tuple[str, list[tuple[str, str]]]:
    return f"{group.name} [{group.bus}]: {', '.join(group.handlers)}", [
        ("topics", ", ".join(group.topics)),
        ("retired handlers", ", ".join(group.retired_handlers) or "none"),
    ]
