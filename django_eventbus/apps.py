"""How does the app take its place in a Django project?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.module_loading import module_has_submodule

# What an app's modules are called, and the attribute of its AppConfig that lists others instead.
MODULES = {"events": "eventbus_events", "handlers": "eventbus_handlers", "sagas": "eventbus_handlers"}


class EventBusConfig(AppConfig):
    """Be the app `eventbus`."""

    name = "django_eventbus"
    label = "eventbus"
    verbose_name = "Event bus"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find the events and handlers of all apps; contacts neither a database nor a broker."""
        from .checks import CHECKS, DATABASE_CHECKS, DEPLOYMENT_CHECKS
        from .signals import connect_logging
        from .telemetry import connect_metrics

        for check in CHECKS:
            checks.register(check, "eventbus")
        for check in DATABASE_CHECKS:
            checks.register(check, "eventbus", checks.Tags.database)
        for check in DEPLOYMENT_CHECKS:
            checks.register(check, "eventbus", deploy=True)
        pre_migrate.connect(_hold_background_work, sender=self)
        post_migrate.connect(_number_buses, sender=self)
        connect_logging()
        connect_metrics()
        discover()
        _load_celery_task()


def discover() -> None:
    """Import `events`, `handlers` and `sagas` of every installed app, or the modules that its AppConfig lists."""
    for app in apps.get_app_configs():
        for module in _modules_of(app):
            import_module(module, package=app.name)


def _modules_of(app: AppConfig) -> Iterator[str]:
    for name, attribute in MODULES.items():
        listed = getattr(app, attribute, None)
        if listed is not None:
            yield from _listed(app, attribute, listed)
        elif app.module is not None and module_has_submodule(app.module, name):
            yield f"{app.name}.{name}"


def _listed(app: AppConfig, attribute: str, modules: Any) -> tuple[str, ...]:
    from .exceptions import ConfigurationError

    if isinstance(modules, str) or not all(isinstance(module, str) for module in modules):
        raise ConfigurationError(
            f"{type(app).__module__}.{type(app).__qualname__}.{attribute} is {modules!r}, but must be a list of module "
            f"names, such as ('{app.name}.messages',); () switches the app off."
        )
    return tuple(modules)


def _load_celery_task() -> None:
    from .bus import buses
    from .delivery.registry import handlers
    from .exceptions import ConfigurationError

    try:
        is_wanted = any(bus.config.outbox.wake_with == "celery" for bus in buses.values())
    except ConfigurationError:
        return  # `check` says it better
    is_wanted = is_wanted or any(handler.handle_in == "celery" for handler in handlers.all())
    # By its path, as transports are: nothing in here may depend on Celery. Without it, `check` complains.
    if is_wanted and find_spec("celery") is not None:
        import_module(".contrib.celery", package=__package__)


def _hold_background_work(**_: Any) -> None:
    from .outbox import wakeup

    # A data migration may publish; handlers must not run while the tables are still changing.
    wakeup.hold()


def _number_buses(*, using: str, **_: Any) -> None:
    from .bus import buses
    from .models import ControlFlag
    from .outbox import wakeup

    wakeup.release()
    served = [queue.alias for bus in buses.values() if bus.config.database == using for queue in bus.config.queues]
    # `migrate` may have run for another app only, or a router may keep the tables off this database.
    if served and ControlFlag._meta.db_table in connections[using].introspection.table_names():
        ControlFlag.objects.using(using).ensure_buses(served)
