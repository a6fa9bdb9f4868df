"""How are times, states, keys and related rows put before a person?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_eventbus.models.outbox import HELD_UNTIL

DATABASE = "database"  # query parameter that names the alias
NOTHING = "-"
LISTED = 20  # related rows that a page shows


def age(since: datetime | None) -> str:
    """Say how long ago a moment was, in its largest unit."""
    return NOTHING if since is None else duration(timezone.now() - since)


def duration(length: timedelta) -> str:
    """Say a length of time in its largest unit."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds}\N{NO-BREAK SPACE}s"


def aged(since: datetime | None) -> SafeString:
    """Show an age that tells its exact moment to who points at it."""
    if since is None:
        return SafeString(NOTHING)
    return format_html('<time datetime="{}" title="{}">{}</time>', since.isoformat(), exact(since), age(since))


def moment(at: datetime | None) -> SafeString:
    """Show a time to the second with its zone, and how long ago it was."""
    if at is None:
        return SafeString(NOTHING)
    return format_html(
        '<time datetime="{}">{}</time> <span class="eventbus-quiet">({} ago)</span>', at.isoformat(), exact(at), age(at)
    )


def planned(at: datetime | None) -> str:
    """Say when something is to happen, and what it waits for where it has no time."""
    if at is None:
        return "behind an earlier message of its key"
    if at >= HELD_UNTIL:
        return "held for a verdict"
    wait = at - timezone.now()
    return f"{exact(at)} (in {duration(wait)})" if wait > timedelta(0) else f"now (due since {exact(at)})"


def until(at: datetime | None) -> SafeString | str:
    """Say in a list how long something still waits."""
    if at is None or at >= HELD_UNTIL:
        return planned(at)
    wait = at - timezone.now()
    words = f"in {duration(wait)}" if wait > timedelta(0) else "now"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact(at), words)


def exact(at: datetime) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"


def badge(state: str, label: str = "") -> SafeString:
    """Show a state as a word in the colour of its style sheet class."""
    return format_html('<span class="eventbus-state eventbus-{}">{}</span>', state, label or state)


def stacked(main: object, *quiet: object) -> SafeString:
    """Show one fact above smaller ones, empty ones left out."""
    below = format_html_join("", '<div class="eventbus-quiet">{}</div>', ((breakable(fact),) for fact in quiet if fact))
    return format_html('<div class="eventbus-main">{}</div>{}', breakable(main), below)


def breakable(fact: object) -> SafeString:
    """Let a long dotted name go on in the next line after a dot, as a narrow column needs it."""
    if isinstance(fact, SafeString):
        return fact
    return format_html_join(SafeString(".<wbr>"), "{}", ((part,) for part in str(fact).split(".")))


def link(model: type[Model], pk: object, text: object, *, using: str | None) -> SafeString:
    """Link to the page of a row, on the database that has it."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a href="{}?{}">{}</a>', url, urlencode({DATABASE: using}), text)


def link_to(row: Model, text: object) -> SafeString:
    """Link to the page of a row that was read."""
    return link(type(row), row.pk, text, using=row._state.db)


def link_to_list(model: type[Model], text: object, *, using: str | None, **filters: str) -> SafeString:
    """Link to the rows of a table that have these values."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode({**filters, DATABASE: using}), text)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: object = NOTHING) -> SafeString:
    """Show facts in rows and columns."""
    titles = format_html_join("", "<th>{}</th>", ((title,) for title in head))
    cells = ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    lines = format_html_join("", "<tr>{}</tr>", cells)
    if not lines:
        return format_html("{}", empty)
    return format_html(
        '<div class="eventbus-scroll"><table class="eventbus-table"><thead><tr>{}</tr></thead>{}</table></div>',
        titles,
        lines,
    )


def pairs(values: Iterable[tuple[str, bytes | memoryview | str | None]]) -> SafeString:
    """Show name and value pairs in their order, repeated names and odd bytes included."""
    rows = ((name, text_of(value)) for name, value in values)
    lines = format_html_join("", "<tr><th>{}</th><td>{}</td></tr>", rows)
    return format_html('<table class="eventbus-table eventbus-pairs">{}</table>', lines)


def text_of(value: bytes | memoryview | str | None) -> str:
    """Show bytes that are mostly text as text; None is said to be null."""
    if value is None:
        return "null"
    return value if isinstance(value, str) else bytes(value).decode(errors="backslashreplace")
