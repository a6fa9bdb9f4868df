"""Under which name is a function known that handles or makes events?"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.apps import apps

from django_eventbus.exceptions import ContractError

_NAME = re.compile(r"[!-~]+")


def app_label_of(function: Callable[..., Any]) -> str | None:
    """Return the label of the app that a function belongs to; raise ContractError before the apps are loaded."""
    if not apps.apps_ready:
        raise ContractError(
            f"{function!r}: handlers can be declared once Django's apps are loaded. Move it to the app's handlers.py, "
            "which is imported then."
        )
    app = apps.get_containing_app_config(function.__module__)
    return None if app is None else app.label


def default_name(function: Callable[..., Any], app_label: str | None) -> str:
    """Return `<app_label>.<function>`; raise ContractError where there is no such name."""
    shown = getattr(function, "__name__", "")
    if app_label is None or not shown.isidentifier():
        raise ContractError(f"{function!r}: only a named function of an installed app has a default name. Give name=.")
    return f"{app_label}.{shown}"


def legal_name(name: object, *, of: str) -> str:
    """Return a name as it is; raise ContractError for what cannot be stored and typed as one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(f"{of}: {name!r} is no name. Write letters, digits, '.', '_' or '-'.")
    return name
