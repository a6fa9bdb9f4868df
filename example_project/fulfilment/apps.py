"""The fulfilment app."""

from django.apps import AppConfig


class FulfilmentConfig(AppConfig):
    """Be the app `fulfilment`."""

    name = "fulfilment"
