"""Settings of the example shop: SQLite and the local transport by default, PostgreSQL and Kafka by environment alone.

DATABASE_URL=postgres://shop:shop@127.0.0.1:5432/shop
EVENTBUS_TRANSPORT=kafka
EVENTBUS_OPTIONS_BOOTSTRAP_SERVERS=127.0.0.1:9092
"""

from datetime import timedelta
from pathlib import Path

import environ

from django_eventbus.conf import from_env

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default="only-for-the-example")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_eventbus",
    "orders",
    "cashiers",
    "billing",
    "shipping",
    "fulfilment",
    "demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
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
            ],
        },
    },
]

ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'shop.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "timeout": 20,
    }

LOGGING = {
    "version": 1,
    "incremental": True,
    "loggers": {"django.server": {"level": env("SERVER_LOG_LEVEL", default="INFO")}},  # the requests of runserver
}

PAYMENT_TIMEOUT = timedelta(seconds=env.float("PAYMENT_TIMEOUT", default=3 * 24 * 3600))  # until a reminder, and again

EVENTBUS = {"default": {"SERVICE": "shop", "DOMAIN": "shop", **from_env("EVENTBUS").get("default", {})}}
