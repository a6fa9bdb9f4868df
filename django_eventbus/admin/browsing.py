"""How are tables of a million rows shown without counting or scanning them, on every database that has them?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from django_eventbus.bus import buses

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator

DATABASE = "database"  # query parameter that names the alias
REACH = 10  # pages that a list offers; narrower filters reach further back


class UncountedPaginator(AnyPaginator):
    """Offer the first pages only, and never ask the database how many rows there are."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.values_list("pk")[: self.per_page * REACH])


class DatabaseFilter(admin.SimpleListFilter):
    """Choose the database whose tables are shown; hidden where there is only one."""

    title = "database"
    parameter_name = DATABASE

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        aliases = buses.databases()
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset  # ReadOnlyAdmin.get_queryset has already chosen


class RecentValuesFilter(admin.SimpleListFilter):
    """Filter by a value that occurs in the newest rows; an exact distinct list would scan the table."""

    sample = 500  # rows looked at

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = model_admin.get_queryset(request).order_by("-pk").values_list(self.parameter_name, flat=True)
        return [(value, value or "(none)") for value in sorted(set(newest[: self.sample]))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(**{str(self.parameter_name): self.value()})


def recent_values(field: str, *, title: str) -> type[RecentValuesFilter]:
    """Return a filter class over the values of one column."""
    return type(f"Recent_{field}", (RecentValuesFilter,), {"parameter_name": field, "title": title})


class AliasChangeList(ChangeList):
    """Keep the chosen database in the links to single rows."""

    def url_for_result(self, result: Model) -> str:
        url = super().url_for_result(result)
        alias = result._state.db
        return url if alias == buses.databases()[0] else f"{url}?{urlencode({DATABASE: alias})}"


class ReadOnlyAdmin(ModelAdmin):
    """Show rows; the bus itself is the only writer of its tables."""

    show_full_result_count = False
    paginator = UncountedPaginator
    list_per_page = 50
    ordering = ("-pk",)
    actions: Sequence[Any] | None = None

    class Media:
        css = {"all": ["eventbus/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(database_of(request))

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), DatabaseFilter]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AliasChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def database_of(request: HttpRequest) -> str:
    """Return the alias that the request asks for, or the default bus's where it asks for none that has the tables."""
    aliases = buses.databases()
    asked = request.GET.get(DATABASE, "")
    return asked if asked in aliases else aliases[0]


def age(since: datetime | None) -> str:
    """Say how long ago a moment was, in its largest unit."""
    if since is None:
        return "-"
    seconds = int((timezone.now() - since) / timedelta(seconds=1))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
