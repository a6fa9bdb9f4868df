"""How are service, environment and source called where the settings do not say it?"""

from __future__ import annotations

import re

WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_NAME = re.compile(r"[^a-z0-9]+")


def short_environment(name: str) -> str:
    """Shorten an environment as topics carry it: Development -> dev, Production -> prod, Test -> test."""
    lower = name.lower()
    return "dev" if lower == "development" else lower[:4]


def service_name(package: str) -> str:
    """Turn the name of a project package into a service name: `my_shop` -> `my-shop`."""
    return _NOT_NAME.sub("-", package.lower()).strip("-")


def source_name(*, domain: str | None, service: str) -> str:
    """Build the CloudEvents source of a service: (`ECommerce`, `orders`) -> `/e_commerce/orders`."""
    if domain is None:
        return f"/{service}"
    return f"/{to_snake(domain)}/{service}"


def to_snake(name: str) -> str:
    """Write a name in snake_case; acronyms stay together, dots are no boundaries."""
    return re.sub(r"[-_\s]+", "_", WORD_START.sub("_", name)).lower()
