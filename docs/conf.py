"""How the documentation is built; nothing here reaches for the network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import django
from django.conf import settings
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

settings.configure(
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django_eventbus"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF="project.urls",
    USE_TZ=True,
)
django.setup()

project = "django-eventbus"
author = "django-eventbus contributors"
copyright = f"2026, {author}"
release = re.search(r'^version = "(.+)"', (DOCS.parent / "pyproject.toml").read_text(), re.MULTILINE)[1]

extensions = ["myst_parser", "sphinx.ext.autodoc", "from_code"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext"]
default_role = "code"  # docstrings write names in single backticks
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False
nitpick_ignore_regex = [("py:.*", r"(?!django_eventbus\.).*")]  # Python's and Django's own names have no page here

html_theme = "furo"
html_title = "django-eventbus"


def setup(app: Sphinx) -> None:
    app.connect("source-read", drop_comments)


def drop_comments(app: Sphinx, name: str, source: list[str]) -> None:
    """Leave out what only the tests run; lines stay where they are, for messages that name them."""
    source[0] = re.sub(r"<!--.*?-->", lambda comment: "\n" * comment[0].count("\n"), source[0], flags=re.DOTALL)
