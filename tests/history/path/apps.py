from __future__ import annotations

from django.apps import AppConfig


class PathConfig(AppConfig):
    name = "tests.history.path"
    label = "path"

    def ready(self) -> None:
        from tests.history import chaos
        from tests.history.path import bugs

        chaos.arm()
        bugs.plant()
