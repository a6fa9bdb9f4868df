"""Wherever a page mentions a name of ours, the code has it."""

from __future__ import annotations

import inspect

import pytest
from django.core.management import load_command_class

from . import names_in_code as code
from .mentions import RULES
from .pages import Page, pages

WRITTEN = pages()
PLANTED = {
    "settings": 'It waits for `OUTBOX["GRACES"]`.',
    "upper_case_words": "Set `PARTITION_KEYS_FIELD`.",
    "environment_variables": "Set `EVENTBUS_OUTBOX_RELAY`.",
    "dotted_words": "It is `eventbus.E999`.",
    "words_with_our_prefix": "See `eventbus_outboxes`.",
    "commands": "Run `manage.py drain_outboxes`.",
    "options": "Run `manage.py drain_outbox --untill-empty`.",
    "modules_to_run": "```text\npython -m tests.proof.sweeps\n```",
    "tox_environments": "Run `tox -e proofs`.",
    "headers": "It has `ce_identity`.",
    "dotted_paths": "```python\nfrom django_eventbus.testing import drain_all\n```",
    "files": "See `tests/docs/test_mentions.py::test_that_is_not_there`.",
    "calls": "Call `publish(event, delayed=3)`.",
    "decorators": "Use `@event_handler`.",
    "parameters": "Give `idempotency=True`.",
    "members": "Ask `context.attempts`.",
}


def written_by_the_code() -> list[Page]:
    """Return what the reference shows of commands, which no page holds."""
    found = []
    for name in sorted(code.commands()):
        command = load_command_class("django_eventbus", name)
        text = "\n\n".join((command.help, inspect.getdoc(command) or ""))
        found.append(Page(name=f"help of {name}", text=text))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_no_page_mentions_a_name_that_is_not_there(rule: str) -> None:
    pages = [*WRITTEN, *written_by_the_code()]

    assert [f"{page.name}: {name}" for page in pages for name in sorted(set(RULES[rule](page)))] == []


@pytest.mark.parametrize("rule", RULES)
def test_a_misspelt_name_is_found(rule: str) -> None:
    assert len(list(RULES[rule](Page(name="planted.md", text=f"{PLANTED[rule]}\n")))) == 1
