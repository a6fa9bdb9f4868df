"""What can users call, and which parameters does it take?"""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from typing import Any, get_type_hints

import django_eventbus
from django_eventbus import testing
from django_eventbus.sagas.reading import SagaOptions

from .names_in_code import public_members
from .pages import page


@cache
def callables() -> dict[str, list[Any]]:
    """Map the names of what users call to what they may mean: functions, classes, and methods of classes."""
    found: dict[str, list[Any]] = {}
    own = [getattr(django_eventbus, name) for name in django_eventbus.__all__]
    own += [getattr(testing, name) for name in testing.__all__]
    for path in re.findall(r"autofunction:: (\S+)", page("docs/reference/api.md").text):
        module, _, name = path.rpartition(".")
        own.append(getattr(importlib.import_module(module), name))
    for one in filter(callable, own):
        found.setdefault(one.__name__, []).append(one)
        if inspect.isclass(one):
            for name in public_members(one):
                found.setdefault(name, []).append(getattr(one, name))
    return found


@cache
def parameters_of(one: Any) -> frozenset[str]:
    """Return the names of the parameters, with those of options that are handed on, and of a class statement."""
    if one is django_eventbus.Saga:
        return frozenset(SagaOptions.__annotations__)
    if not callable(one):
        return frozenset()
    try:
        named = set(inspect.signature(one).parameters)
    except ValueError:  # an exception without an __init__ of its own
        return frozenset()
    for hint in get_type_hints(one).values() if inspect.isroutine(one) else ():
        for options in getattr(hint, "__args__", ()):
            named |= set(getattr(options, "__annotations__", {})) if getattr(hint, "__unpacked__", True) else set()
    return frozenset(named)
