"""The orders app."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Be the app `orders`."""

    name = "orders"
