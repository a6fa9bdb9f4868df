from __future__ import annotations

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "tests.history"
    label = "history"

    def ready(self) -> None:
        from tests.history import chaos

        chaos.arm()
