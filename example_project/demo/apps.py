"""The demo app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Be the app `demo`."""

    name = "demo"
