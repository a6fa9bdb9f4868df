"""How does the EVENTBUS setting become one BusConfig per alias, and what is wrong with it?"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from django.conf import settings

from django_eventbus.exceptions import ConfigurationError

from .identity import service_name, short_environment, source_name
from .problems import Problem, Severity, likely, shown
from .reading import Refused, read
from .rules import broken_rules
from .sections import (
    LOCAL_SUFFIX,
    SHORT_TRANSPORTS,
    BusConfig,
    ConsumerConfig,
    DeadLetterConfig,
    InboxConfig,
    OutboxConfig,
    RetryConfig,
    SagaConfig,
)

SECTIONS: Mapping[str, type] = {
    "OUTBOX": OutboxConfig,
    "CONSUMER": ConsumerConfig,
    "INBOX": InboxConfig,
    "RETRY": RetryConfig,
    "DEAD_LETTER": DeadLetterConfig,
    "SAGA": SagaConfig,
}
_HIDDEN_BY_REPR = ("OPTIONS", "PRODUCER_OPTIONS", "CONSUMER_OPTIONS")


def load(raw: Mapping[str, Any] | None) -> Mapping[str, BusConfig]:
    """Turn the EVENTBUS setting (None: not set) into configs; raise ConfigurationError that lists every error."""
    configs, found = _read_buses(raw)
    errors = [str(problem) for problem in found if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError("\n".join(errors))
    return configs


def problems(raw: Mapping[str, Any] | None) -> list[Problem]:
    """List everything that is wrong with the EVENTBUS setting, for the system checks."""
    return _read_buses(raw)[1]


@cache
def fields_of(section: type) -> Mapping[str, Any]:
    """Map the setting keys of a section to the types that they take."""
    hints = get_type_hints(section, include_extras=True)
    names = [field.name for field in dataclasses.fields(section)]
    return {name.upper(): hints[name] for name in names if name != "alias" and name.upper() not in SECTIONS}


def _read_buses(raw: Any) -> tuple[dict[str, BusConfig], list[Problem]]:
    found: list[Problem] = []
    if raw is None or raw == {}:
        raw = {"default": {}}
    if not isinstance(raw, Mapping):
        return {}, [_wrong("EVENTBUS", "EVENTBUS", raw, Refused("a dict of bus aliases"))]
    if "default" not in raw:
        found.append(_no_default(raw))
    configs = {}
    for alias, bus in raw.items():
        path = f"EVENTBUS[{alias!r}]"
        if not isinstance(alias, str) or not alias:
            found.append(_wrong(path, "alias", alias, Refused("a text as alias")))
        elif alias.endswith(LOCAL_SUFFIX):
            found.append(_wrong(path, "alias", alias, Refused(f"another alias: {LOCAL_SUFFIX!r} marks local queues")))
        elif not isinstance(bus, Mapping):
            found.append(_wrong(path, alias, bus, Refused("a dict with the settings of one bus")))
        else:
            configs[alias] = _read_bus(alias, bus, found)
    return configs, found


def _read_bus(alias: str, raw: Mapping[str, Any], found: list[Problem]) -> BusConfig:
    path = f"EVENTBUS[{alias!r}]"
    sections = {}
    for name, section in SECTIONS.items():
        given = raw.get(name, {})
        if isinstance(given, Mapping):
            sections[name.lower()] = section(**_read_section(section, given, f"{path}[{name!r}]", found))
        else:
            found.append(_wrong(f"{path}[{name!r}]", name, given, Refused("a dict")))
    own = {name: value for name, value in raw.items() if name not in SECTIONS}
    if isinstance(own.get("TRANSPORT"), str):
        own["TRANSPORT"] = SHORT_TRANSPORTS.get(own["TRANSPORT"], own["TRANSPORT"])
    values = _read_section(BusConfig, own, path, found)
    config = BusConfig(alias=alias, **_with_defaults(values), **sections)
    refused = {problem.path for problem in found}
    found.extend(problem for problem in broken_rules(config, raw) if problem.path not in refused)
    return config


def _read_section(section: type, raw: Mapping[str, Any], path: str, found: list[Problem]) -> dict[str, Any]:
    kinds = fields_of(section)
    values = {}
    for name, value in raw.items():
        place = f"{path}[{name!r}]"
        if name not in kinds:
            found.append(_unknown(place, name, value, section))
            continue
        try:
            values[name.lower()] = read(value, kinds[name])
        except Refused as refused:
            found.append(_wrong(place, name, value, refused))
    return values


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what depends on the project, so that every field of the config has its final value."""
    service = values.get("service") or default_service()
    environment = short_environment(values.get("environment", "dev"))
    computed = {
        "service": service,
        "source": source_name(domain=values.get("domain"), service=service),
        "group": f"{service}-{environment}",
        "create_topics": settings.DEBUG,
    }
    return {**computed, **values, "environment": environment}


def default_service() -> str:
    """Name the service after the project package: the first segment of ROOT_URLCONF or of the settings module."""
    modules = (getattr(settings, "ROOT_URLCONF", None), os.environ.get("DJANGO_SETTINGS_MODULE"))
    names = (service_name(module.partition(".")[0]) for module in modules if isinstance(module, str))
    return next(filter(None, names), "project")


def _no_default(raw: Mapping[Any, Any]) -> Problem:
    misplaced = [name for name in raw if name in SECTIONS or name in fields_of(BusConfig)]
    hint = "publish() uses it; name one bus 'default'."
    if misplaced:
        hint = f"{misplaced[0]!r} is no alias; write EVENTBUS = {{'default': {{{misplaced[0]!r}: ...}}}}."
    return Problem(path="EVENTBUS['default']", message="EVENTBUS['default'] is missing.", hint=hint)


def _wrong(path: str, name: str, value: object, refused: Refused) -> Problem:
    if refused.index is not None and isinstance(value, list | tuple):
        path, value = f"{path}[{refused.index}]", value[refused.index]
    text = f"a {type(value).__name__}" if name in _HIDDEN_BY_REPR else shown(name, value)
    return Problem(path=path, message=f"{path} is {text}, but must be {refused.expected}.", hint=refused.hint)


def _unknown(path: str, name: Any, value: object, section: type) -> Problem:
    message = f"{path} is not a setting (its value is {shown(str(name), value)})."
    known = [*fields_of(section), *(SECTIONS if section is BusConfig else ())]
    homes = [repr(home) for home, other in SECTIONS.items() if other is not section and name in fields_of(other)]
    if homes:
        hint = f"It belongs in {' or '.join(homes)}."
    elif meant := likely(str(name), known):
        hint = f"Did you mean {meant!r}?"
    else:
        hint = f"Known here: {', '.join(known)}."
    return Problem(path=path, message=message, hint=hint)
