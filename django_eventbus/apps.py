"""How does the app take its place in a Django project?"""

from __future__ import annotations

from django.apps import AppConfig


class EventBusConfig(AppConfig):
    """Be the app `eventbus`."""

    name = "django_eventbus"
    label = "eventbus"
    verbose_name = "Event bus"
    default_auto_field = "django.db.models.BigAutoField"
