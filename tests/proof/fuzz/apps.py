from __future__ import annotations

from django.apps import AppConfig


class FuzzConfig(AppConfig):
    name = "tests.proof.fuzz"
    label = "fuzz"

    def ready(self) -> None:
        from tests.proof.fuzz import bugs

        bugs.plant()
