"""The billing app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Be the app `billing`."""

    name = "billing"
