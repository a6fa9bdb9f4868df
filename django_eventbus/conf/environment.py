"""How do environment variables become the EVENTBUS setting?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from django_eventbus.exceptions import ConfigurationError

from .loading import SECTIONS, fields_of
from .problems import shown
from .reading import base_of, expectation, is_optional
from .sections import BusConfig

try:
    import environ  # type: ignore[import-untyped, unused-ignore]
except ImportError:  # an optional dependency: only from_env() needs it
    environ = None  # type: ignore[assignment, unused-ignore]

_OPTION_KEYS = ("PRODUCER_OPTIONS", "CONSUMER_OPTIONS", "OPTIONS")
_TRUE = frozenset({"true", "on", "yes", "y", "ok", "1"})
_FALSE = frozenset({"false", "off", "no", "n", "0"})
_SURELY_MISSPELT = 0.8  # a Kubernetes service named "eventbus" sets EVENTBUS_PORT and EVENTBUS_SERVICE_HOST


def from_env(prefix: str = "EVENTBUS") -> dict[str, dict[str, Any]]:
    """Build `{"default": {...}}` from environment variables, read with django-environ.

    Every key has a form: `EVENTBUS_TRANSPORT`, `EVENTBUS_OUTBOX_BATCH_SIZE` (sections joined by `_`; durations in
    seconds, lists with commas; empty is not set, `none` is None). `EVENTBUS_OPTIONS_SASL_USERNAME` sets the client
    option `sasl.username`; `EVENTBUS_PRODUCER_OPTIONS_...` and `EVENTBUS_CONSUMER_OPTIONS_...` work alike.
    A second bus: `from_env("AUDIT_BUS")["default"]`.
    """
    env = _open_environment()
    bus: dict[str, Any] = {}
    places = _places(prefix)
    for name in sorted(env.ENVIRON):
        if not name.startswith(f"{prefix}_"):
            continue
        if name in places:
            section, key, kind = places[name]
            target = bus.setdefault(section, {}) if section else bus
            if text := env.str(name).strip():
                target[key] = _converted(name, text, kind)
        elif option := _option_of(name, prefix):
            # Read as it stands: django-environ would take a password that begins with "$" for a variable's name.
            bus.setdefault(option[0], {})[option[1]] = env.ENVIRON[name]
        else:
            _refuse_misspelt(name, prefix, places)
    return {"default": bus}


def _open_environment() -> Any:
    if environ is None:
        raise ConfigurationError(
            "django_eventbus.conf.from_env() needs django-environ. "
            "Install it with `pip install 'django-eventbus[env]'`, or write EVENTBUS as a dict."
        )
    return environ.Env()


def _places(prefix: str) -> dict[str, tuple[str, str, Any]]:
    """Map each variable name to its section ("" at the top), key and type."""
    places = {f"{prefix}_{key}": ("", key, kind) for key, kind in fields_of(BusConfig).items()}
    for section, cls in SECTIONS.items():
        places |= {f"{prefix}_{section}_{key}": (section, key, kind) for key, kind in fields_of(cls).items()}
    return {name: place for name, place in places.items() if place[1] not in _OPTION_KEYS}


def _option_of(name: str, prefix: str) -> tuple[str, str] | None:
    for key in _OPTION_KEYS:
        start = f"{prefix}_{key}_"
        if name.startswith(start) and len(name) > len(start):
            return key, name.removeprefix(start).lower().replace("_", ".")
    return None


def _converted(name: str, text: str, kind: Any) -> Any:
    """Turn text into what the dict form would hold; `load` checks it further."""
    if is_optional(kind) and text.lower() == "none":
        return None
    base = base_of(kind)
    try:
        if get_origin(base) is tuple:
            return [_scalar(item.strip(), base_of(get_args(base)[0])) for item in text.split(",") if item.strip()]
        return _scalar(text, base)
    except ValueError as exc:
        message = f"The environment variable {name} is {shown(name, text)}, but must be {expectation(kind)}."
        raise ConfigurationError(message) from exc


def _scalar(text: str, kind: Any) -> Any:
    if kind is bool:
        return _boolean(text)
    if kind is int:
        return int(text)
    if kind is float or kind is timedelta:
        return float(text)
    return text


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _refuse_misspelt(name: str, prefix: str, places: Mapping[str, Any]) -> None:
    """Refuse what was surely meant for this app; other programs' variables may share the prefix."""
    own = any(name.startswith(f"{prefix}_{section}_") for section in SECTIONS)
    words = {
        place.removeprefix(f"{prefix}_"): place for place in (*places, *(f"{prefix}_{key}" for key in _OPTION_KEYS))
    }
    meant = get_close_matches(name.removeprefix(f"{prefix}_"), words, n=1, cutoff=0.6 if own else _SURELY_MISSPELT)
    if not own and not meant:
        return
    hint = f"Did you mean {words[meant[0]]}?" if meant else "Remove it."
    raise ConfigurationError(f"The environment variable {name} is not a setting of django_eventbus. {hint}")
