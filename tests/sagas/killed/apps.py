from __future__ import annotations

from django.apps import AppConfig


class KilledConfig(AppConfig):
    name = "tests.sagas.killed"
    label = "killed"

    def ready(self) -> None:
        from tests.sagas.killed import points

        points.arm()
