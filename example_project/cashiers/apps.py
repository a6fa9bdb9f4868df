"""The cashiers app."""

from django.apps import AppConfig


class CashiersConfig(AppConfig):
    """Be the app `cashiers`."""

    name = "cashiers"
