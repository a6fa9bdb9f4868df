"""A real Chromium before a real server, whose pages carry a strict policy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from django_eventbus.delivery.registry import handlers
from django_eventbus.recurrence.registry import recurrings
from django_eventbus.sagas.declaration import sagas

from . import fulfilment, shop
from .server import serving

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PASSWORD = "correct horse"


class Operator:
    """One person before one browser window; remembers what the console complained about."""

    def __init__(self, browser: Any, address: str, name: str, **window: Any) -> None:
        self.page = browser.new_context(
            base_url=address, **{"viewport": {"width": 1280, "height": 800}, **window}
        ).new_page()
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto("/admin/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.click("text=Log in")

    def _hear(self, message: Any) -> None:
        is_about_icon = message.location.get("url", "").endswith("/favicon.ico")  # this site has none
        if message.type in ("error", "warning") and not is_about_icon:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def open(self, path: str) -> Any:
        response = self.page.goto(f"/admin/eventbus/{path}")
        assert response.status == 200, (path, response.status)
        return response

    def click(self, selector: str) -> None:
        """Click on what leads to another page, and wait until that is there."""
        self.page.click(selector)
        self.page.wait_for_load_state()

    def sees(self, text: str) -> bool:
        return text in self.page.inner_text("body")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or the one that CHROMIUM names."""
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if executable is None:
        pytest.fail("there is no Chromium: install the package `chromium`, or name the executable in CHROMIUM")
    # While Playwright runs, its event loop runs on this thread, and Django would refuse every query of a test.
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def site(transactional_db: None, settings: Any) -> Iterator[str]:
    """The address of a server with the shop behind it, in which nothing happens before the test drains."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.browser.policy.ContentSecurityPolicy"]
    settings.EVENTBUS = {"default": {"SERVICE": "shop", "DOMAIN": "shop", "OUTBOX": {"WAKE_WITH": "poll"}}}
    settings.TIME_ZONE = "UTC"
    with handlers.isolated(), recurrings.isolated(), sagas.isolated(), serving() as address:
        shop.open_shop()
        shop.open_office()
        fulfilment.open_warehouse()
        yield address


@pytest.fixture
def log_in(browser: Any, site: str) -> Iterator[Callable[..., Operator]]:
    """Log in somebody with exactly these permissions, or a superuser; the console must stay silent to the end."""
    operators: list[Operator] = []

    def enter(name: str = "root", *codenames: str, **window: Any) -> Operator:
        if codenames:
            user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        elif not User.objects.filter(username=name).exists():
            User.objects.create_superuser(name, password=PASSWORD)
        operators.append(Operator(browser, site, name, **window))
        return operators[-1]

    yield enter
    complaints = [complaint for operator in operators for complaint in operator.complaints]
    for operator in operators:
        operator.page.context.close()
    assert complaints == []
