"""Which declarations of handlers are wrong, as far as only a loaded project can show?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import router
from django.db.models import AutoField, Field, GeneratedField

from django_eventbus.conf import KAFKA_TRANSPORT, BusConfig
from django_eventbus.events.inspection import Problem
from django_eventbus.events.registry import events
from django_eventbus.exceptions import ConfigurationError

from .groups import group_name, retired_handlers
from .handler import Handler

BROKER_RETENTION = timedelta(days=7)  # Kafka's default; a redelivery after the inbox forgot would be handled again

_USUAL_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[A-Za-z0-9_-]+)+")


def find_problems(handlers: Iterable[Handler], configs: Iterable[BusConfig]) -> list[Problem]:
    """Return every problem of these handlers on these buses; needs ready apps."""
    known, buses = list(handlers), list(configs)
    found = [problem for handler in known for rule in _RULES for problem in rule(handler)]
    found += [problem for config in buses for rule in _BUS_RULES for problem in rule(known, config)]
    found += _retired(known)
    return list(dict.fromkeys(found))


def _alias(handler: Handler) -> Iterator[Problem]:
    if handler.using is not None and handler.using not in settings.DATABASES:
        yield Problem(
            id="E060",
            message=f"Handler {handler.name}: using={handler.using!r} is no alias in DATABASES.",
            hint=f"Known are {', '.join(map(repr, settings.DATABASES))}.",
        )


def _versions(handler: Handler) -> Iterator[Problem]:
    for version in sorted(handler.versions or ()):
        names = {events.contract_of(cls).name for cls in handler.events}
        if not any(handler.event_class(name, version) for name in names):
            yield Problem(
                id="E061",
                message=f"Handler {handler.name}: versions= lists {version!r}, which none of its events can be.",
                hint="Correct the version, or register an @upcaster that leads from it to the handler's class.",
            )


def _name(handler: Handler) -> Iterator[Problem]:
    if not _USUAL_NAME.fullmatch(handler.name):
        yield Problem(
            id="W060",
            message=f"Handler {handler.name}: the name is stored with every message, and is not '<app>.<function>'.",
            hint="Choose such a name now; later it needs aliases=.",
        )


def _state(handler: Handler) -> Iterator[Problem]:
    if handler.state is None:
        return
    model, field = handler.state.model, handler.state.field
    place = f"Handler {handler.name}: {model.__qualname__}.{field.name}"
    if isinstance(field, AutoField):
        yield Problem(
            id="E065",
            message=f"{place} gets its values from the database, so that it cannot hold the keys of events.",
            hint="Name a unique field of the model in state_key=.",
        )
    elif not _is_unique(field):
        yield Problem(
            id="E065",
            message=f"{place} is not unique: two workers could make a row each for one key.",
            hint="Add unique=True to it, or name another field in state_key=.",
        )
    demanded = [other.name for other in model._meta.concrete_fields if other is not field and _is_demanded(other)]
    if demanded:
        yield Problem(
            id="E066",
            message=f"Handler {handler.name}: {model.__qualname__} cannot be made for the first event of a key, since "
            f"these fields have neither default nor null: {', '.join(demanded)}.",
            hint="Give them defaults.",
        )


def _place(handler: Handler) -> Iterator[Problem]:
    if handler.handle_in == "celery" and find_spec("celery") is None:
        yield Problem(
            id="E068",
            message=f"Handler {handler.name}: it is to run in Celery, which is not installed.",
            hint="pip install django-eventbus[celery]",
        )


def _state_alias(handlers: list[Handler], config: BusConfig) -> Iterator[Problem]:
    for handler in handlers:
        alias = handler.using or config.database
        if handler.state is not None and not router.allow_migrate_model(alias, handler.state.model):
            yield Problem(
                id="E067",
                message=f"Handler {handler.name}: DATABASE_ROUTERS keeps {handler.state.model.__qualname__} off "
                f"database {alias!r}, where the handler runs.",
                hint="Name the database of the model in using=.",
            )


def _is_unique(field: Field[Any, Any]) -> bool:
    return field.unique or any(rule.fields == (field.name,) for rule in field.model._meta.total_unique_constraints)


def _is_demanded(field: Field[Any, Any]) -> bool:
    is_made = isinstance(field, AutoField | GeneratedField) or getattr(field, "auto_now", False)
    is_made = is_made or getattr(field, "auto_now_add", False) or field.has_db_default()
    return not is_made and not field.null and field.get_default() is None


def _group(handlers: list[Handler], config: BusConfig) -> Iterator[Problem]:
    for handler in handlers:
        try:
            group_name(handler, config)
        except ConfigurationError as exc:
            yield Problem(id="E062", message=str(exc), hint="Give a text, or leave it out to use the bus's GROUP.")


def _timeout(handlers: list[Handler], config: BusConfig) -> Iterator[Problem]:
    for handler in handlers:
        is_here = handler.handle_in is None
        if is_here and handler.timeout is not None and handler.timeout > config.consumer.grace:
            yield Problem(
                id="W061",
                message=f"Handler {handler.name}: its timeout of {handler.timeout} is longer than "
                f"EVENTBUS[{config.alias!r}]['CONSUMER']['GRACE'] ({config.consumer.grace}).",
                hint="A successor waits for the longer of the two: raise GRACE, or shorten the timeout.",
            )


def _retention(handlers: list[Handler], config: BusConfig) -> Iterator[Problem]:
    if handlers and config.transport == KAFKA_TRANSPORT and config.inbox.retention < BROKER_RETENTION:
        yield Problem(
            id="W062",
            message=f"EVENTBUS[{config.alias!r}]['INBOX']['RETENTION'] is {config.inbox.retention}: a broker that "
            "keeps records longer (Kafka: 7 days by default) can deliver again what the inbox has forgotten.",
            hint="Make it longer than the retention of every topic.",
        )


def _retired(handlers: list[Handler]) -> Iterator[Problem]:
    for app in apps.get_app_configs():
        if isinstance(getattr(app, "eventbus_retired_handlers", ()), str):
            yield Problem(
                id="E063",
                message=f"AppConfig {app.label!r}: eventbus_retired_handlers is one text, so each letter is a name.",
                hint="Give a tuple of handler names.",
            )
            return
    declared = {name: handler for handler in handlers for name in handler.names}
    for name in sorted(retired_handlers() & declared.keys()):
        yield Problem(
            id="E064",
            message=f"Handler {declared[name].name}: {name!r} is declared retired in eventbus_retired_handlers.",
            hint="Remove the handler, or the line that retires it: its waiting messages would become dead letters.",
        )


_RULES: tuple[Callable[[Handler], Iterator[Problem]], ...] = (_alias, _versions, _name, _state, _place)
_BUS_RULES: tuple[Callable[[list[Handler], BusConfig], Iterator[Problem]], ...] = (
    _group,
    _timeout,
    _retention,
    _state_alias,
)
