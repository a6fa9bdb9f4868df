from __future__ import annotations

from django.apps import AppConfig

from tests.contrib.celery_app import app

__all__ = ["FarConfig", "app"]


class FarConfig(AppConfig):
    name = "tests.contrib"
    label = "far"
