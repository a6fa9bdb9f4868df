"""Which names of ours does a page mention anywhere, and which of them does the code not have?

Each rule knows a shape that only names of ours have, such as ``OUTBOX["GRACE"]`` or ``--until-empty`` behind a command.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django import dispatch

import django_eventbus
from django_eventbus.conf.environment import _OPTION_KEYS, _places
from django_eventbus.conf.loading import SECTIONS, fields_of, problems

from . import names_in_code as code
from .pages import ROOT, Page
from .signatures import callables, parameters_of

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SHELL_ENDS = re.compile(r"[|;&)>]")
OURS = ("tests", "benchmarks", "django_eventbus")


def settings(page: Page) -> Iterator[str]:
    """Yield keys that no section has, in prose and in dicts."""
    for text in page.inline():
        for section, key in re.findall(r"\b([A-Z_]+)\[\"([A-Z_]+)\"\]", text):
            if section in SECTIONS and key not in fields_of(SECTIONS[section]):
                yield f"{section}[{key!r}]"
    for block in page.blocks("python"):
        for node in ast.walk(ast.parse(block)):
            match node:
                case ast.Assign(targets=[ast.Name(id="EVENTBUS")], value=ast.Dict() as value):
                    yield from unknown_keys(value)


def unknown_keys(value: ast.Dict) -> Iterator[str]:
    try:
        found = problems(ast.literal_eval(value))
    except ValueError:
        return  # parts of it are computed; the block is run elsewhere
    yield from (str(problem) for problem in found if "is not a setting" in problem.message)


def upper_case_words(page: Page) -> Iterator[str]:
    """Yield words with an underscore that are no setting of ours or Django's, and stand in no code of the page."""
    from django.conf import global_settings

    others = " ".join(page.blocks())
    for text in page.inline():
        for word in re.findall(r"^(?!EVENTBUS_)[A-Z]+_[A-Z_]+(?=$|:)", text):
            if word not in code.setting_keys() and not hasattr(global_settings, word) and word not in others:
                yield word


def environment_variables(page: Page) -> Iterator[str]:
    known = {*_places("EVENTBUS"), *variables_of_the_suite()}
    for word in re.findall(r"\bEVENTBUS_[A-Z][A-Z_]*[A-Z]", page.text):
        is_option = word.startswith(tuple(f"EVENTBUS_{key}" for key in _OPTION_KEYS))
        if word not in known and not is_option and f"such as `{word}`" not in page.text:
            yield word


@cache
def variables_of_the_suite() -> frozenset[str]:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "docs"]
    return frozenset(word for text in texts for word in re.findall(r"\bEVENTBUS_TEST_[A-Z_]+\b", text))


def dotted_words(page: Page) -> Iterator[str]:
    """Yield check ids, permissions, metrics and attributes that are none."""
    known = code.check_ids() | code.permissions() | code.default_permissions() | code.metrics() | code.attributes()
    for text in page.inline():
        if re.fullmatch(r"(eventbus|messaging)\.[\w.]*\w", text) and text not in known:
            yield text


def words_with_our_prefix(page: Page) -> Iterator[str]:
    """Yield what looks like a command, a table or an attribute of an AppConfig, and is none."""
    known = code.commands() | code.tables() | code.app_attributes()
    for word in re.findall(r"(?<![\w./-])eventbus_[a-z_]+[a-z](?!\w*[.(])", page.text):
        if word not in known:
            yield word


def commands(page: Page) -> Iterator[str]:
    from django.core.management import get_commands

    examples = {path.stem for path in (ROOT / "example_project").glob("*/management/commands/*.py")}
    for word in re.findall(r"\bmanage\.py +([a-z]\w*)", page.text):
        if word not in get_commands() and word not in examples:
            yield f"manage.py {word}"


def options(page: Page) -> Iterator[str]:
    """Yield options that the command, module or example before them on the line does not take."""
    for line in page.commands():
        for part in SHELL_ENDS.split(line):
            command = next((name for name in re.findall(r"\w+", part) if name in code.commands()), None)
            if command is not None:
                written = set(OPTION.findall(part.partition(command)[2]))
                yield from (f"{command} {name}" for name in sorted(written - code.options_of(command)))
            elif found := re.search(rf"python -m ({'|'.join(OURS)})([\w.]*)", part):
                module = found[1] + found[2]
                written = set(OPTION.findall(part[found.end() :]))
                yield from (f"{module} {name}" for name in sorted(written - options_in(module)))
    for text in page.inline():
        if (found := re.fullmatch(r"(--[a-z-]+)(?: [A-Z0-9]+)?", text)) and found[1] not in all_options():
            yield found[1]


@cache
def options_in(module: str) -> frozenset[str]:
    """Collect the options of what `python -m MODULE` starts, from its source."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    places = spec.submodule_search_locations
    path = Path(places[0]) / "__main__.py" if places else Path(str(spec.origin))
    return frozenset(re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", path.read_text()))


@cache
def all_options() -> frozenset[str]:
    rooms = ("tests", "benchmarks", "example_project")
    mains = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    found = {name for path in mains for name in re.findall(r"\"(--[a-z-]+)\"", path.read_text())}
    return frozenset(found.union(*(code.options_of(name) for name in {*code.commands(), "check"})))


def modules_to_run(page: Page) -> Iterator[str]:
    for word in re.findall(rf"python -m ((?:{'|'.join(OURS)})\b[\w.]*\w)", page.text):
        if not is_runnable(word):
            yield f"python -m {word}"


def is_runnable(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations:
            spec = importlib.util.find_spec(f"{module}.__main__")
    except ModuleNotFoundError:
        return False
    return spec is not None and "__main__" in Path(str(spec.origin)).read_text()


def tox_environments(page: Page) -> Iterator[str]:
    tox = configparser.RawConfigParser()
    tox.read_string((ROOT / "tox.ini").read_text())
    known = {name.removeprefix("testenv:") for name in tox.sections()}
    for word in re.findall(r"\btox (?:-q )?-e ([\w.-]+)", page.text):
        if word not in known:
            yield f"tox -e {word}"


def headers(page: Page) -> Iterator[str]:
    for text in page.inline():
        if re.fullmatch(r"ce_[a-z]+", text) and text not in code.headers():
            yield text


def dotted_paths(page: Page) -> Iterator[str]:
    """Yield paths into the package, and imports from it, that lead nowhere."""
    loggers = {text for text in code.texts() if text.startswith("django_eventbus.")}
    for word in re.findall(r"`(django_eventbus(?:\.\w+)+)", page.text):
        if word not in code.tasks() | loggers and not is_importable(word):
            yield word
    typed = "\n".join(line for line in page.commands() if "import" in line)
    for module, names in re.findall(r"from (django_eventbus[\w.]*) import ([\w, ]+)", typed):
        paths = [f"{module}.{name.split()[0]}" for name in names.split(",")]
        yield from (path for path in paths if not is_importable(path))
    for block in page.blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "django_eventbus":
                paths = [f"{node.module}.{name.name}" for name in node.names]
                yield from (path for path in paths if not is_importable(path))


def is_importable(path: str) -> bool:
    found: Any = django_eventbus
    done = "django_eventbus"
    for part in path.split(".")[1:]:
        done = f"{done}.{part}"
        if not hasattr(found, part):
            try:
                importlib.import_module(done)
            except ModuleNotFoundError:
                return False
        found = getattr(found, part)
    return True


def files(page: Page) -> Iterator[str]:
    for text in page.inline():
        path, _, test = text.partition("::")
        if not re.fullmatch(r"(tests|docs|benchmarks|tools|example_project|django_eventbus)/[\w./-]+", path):
            continue
        if not (ROOT / path).exists() or (test and f"def {test}(" not in (ROOT / path).read_text()):
            yield text


def calls(page: Page) -> Iterator[str]:
    """Yield calls of names of ours with a parameter that they do not have."""
    for text in page.inline():
        try:
            tree = ast.parse(text.removeprefix("@"), mode="eval")
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func).rpartition(".")[2]) in callables():
                taken = set().union(*map(parameters_of, callables()[name]))
                yield from (f"{name}({word.arg}=)" for word in node.keywords if word.arg and word.arg not in taken)


def decorators(page: Page) -> Iterator[str]:
    own = set(re.findall(r"(?:import|def|,) +(\w+)", " ".join(page.blocks("python"))))
    for text in page.inline():
        if (found := re.match(r"@(\w+)", text)) and found[1] not in {*callables(), *own, *vars(dispatch)}:
            yield found[0]


def parameters(page: Page) -> Iterator[str]:
    """Yield `name=` where nothing that is public takes a parameter of this name."""
    known = set().union(*(parameters_of(one) for found in callables().values() for one in found))
    for text in page.inline():
        if (found := re.fullmatch(r"([a-z_]+)=(|[A-Z0-9\"].*)", text)) and found[1] not in known:
            yield f"{found[1]}="


def members(page: Page) -> Iterator[str]:
    """Yield what the context of a message, or a saga, does not have."""
    fields = set(django_eventbus.MessageContext.__annotations__)
    for text in page.inline():
        if (found := re.fullmatch(r"context\.(\w+)", text)) and found[1] not in fields:
            yield text
        if (found := re.match(r"self\.(\w+)", text)) and not hasattr(django_eventbus.Saga, found[1]):
            yield text


RULES: dict[str, Callable[[Page], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        settings,
        upper_case_words,
        environment_variables,
        dotted_words,
        words_with_our_prefix,
        commands,
        options,
        modules_to_run,
        tox_environments,
        headers,
        dotted_paths,
        files,
        calls,
        decorators,
        parameters,
        members,
    )
}
