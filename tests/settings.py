"""The Django project of the suite; a child process gets its databases and its buses as JSON in the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from tests.services import databases

SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_eventbus",
    "tests.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

EVENTBUS: dict[str, Any] = json.loads(os.environ.get("EVENTBUS_TEST_SETTINGS", "{}"))


def unstarted_databases() -> dict[str, Any]:
    """Name the engines only: the suite fills in the addresses once a test needs a database."""
    if databases.postgres_is_default():
        entry = databases.on_postgres("postgresql://")
    else:
        entry = databases.on_sqlite(":memory:")
    return {"default": entry, "other": dict(entry)}


DATABASES: dict[str, Any] = json.loads(os.environ.get("EVENTBUS_TEST_DATABASES", "null")) or unstarted_databases()
