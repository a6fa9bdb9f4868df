from __future__ import annotations

from django.apps import AppConfig


class SweepConfig(AppConfig):
    name = "tests.proof.sweep"
    label = "sweep"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # A key in trouble waits a second, a topic five, a poll a fifth: nothing to wait for a thousand times.
        from django_eventbus.consumer import worker
        from django_eventbus.outbox import parking, settling

        parking.FIRST_BACKOFF = parking.TOPIC_PROBE = 0.05
        settling.TOPIC_PROBE = 0.05  # type: ignore[attr-defined]
        worker.BUSY_POLL = worker.IDLE_POLL = 0.005
