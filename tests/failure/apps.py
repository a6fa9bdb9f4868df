from __future__ import annotations

from django.apps import AppConfig


class FailureConfig(AppConfig):
    name = "tests.failure"
    label = "failure"
