"""Which handlers a process has is said by the environment: a group is measured with one handler at a time."""

from __future__ import annotations

import os

from django.apps import AppConfig

from benchmarks.settings import HANDLERS


class ShopConfig(AppConfig):
    name = "benchmarks.shop"
    label = "shop"
    eventbus_domain = "bench"
    eventbus_events = ("benchmarks.shop.events",)
    eventbus_handlers = tuple(f"benchmarks.shop.{name}" for name in os.environ.get(HANDLERS, "").split())
