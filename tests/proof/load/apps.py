from __future__ import annotations

from django.apps import AppConfig


class LoadConfig(AppConfig):
    name = "tests.proof.load"
    label = "load"
