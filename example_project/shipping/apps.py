"""The shipping app."""

from django.apps import AppConfig


class ShippingConfig(AppConfig):
    """Be the app `shipping`."""

    name = "shipping"
