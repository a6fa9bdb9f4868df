"""How the documentation is built; nothing here reaches for the network."""

from __future__ import annotations

import re
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"

project = "django-eventbus"
author = "django-eventbus contributors"
copyright = f"2026, {author}"
release = re.search(r'^version = "(.+)"', PYPROJECT.read_text(), re.MULTILINE)[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "django-eventbus"
