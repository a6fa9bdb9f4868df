"""Sagas under torment: trips that three services book, refuse, forget and undo."""

from __future__ import annotations

from django.apps import AppConfig


class TripsConfig(AppConfig):
    name = "tests.history.trips"
    label = "trips"

    def ready(self) -> None:
        from tests.history import chaos
        from tests.history.trips import bugs

        chaos.arm()
        bugs.plant()
