from __future__ import annotations

from django.apps import AppConfig


class DifferentialConfig(AppConfig):
    name = "tests.proof.differential"
    label = "differential"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_eventbus.consumer import due, turn, worker
        from django_eventbus.outbox import parking, relay, settling, supervisor

        # What the model has no clock for: nobody waits longer than it takes to be told what to do.
        parking.FIRST_BACKOFF = parking.TOPIC_PROBE = settling.TOPIC_PROBE = 0.0  # type: ignore[attr-defined]
        relay.STANDBY_PAUSE = relay.BUSY_PAUSE = relay.IDLE_PAUSE = 0.005
        supervisor.SHORTEST_PAUSE = supervisor.LONGEST_PAUSE = 0.005
        worker.IDLE_POLL = worker.BUSY_POLL = due.LOOK_AT_LEAST_EVERY = 0.005
        worker.CONFIRMATION = 0.0
        turn.FIRST_ROWS = 1  # type: ignore[attr-defined]  # a unit of the model has one
