"""How are tables of a million rows shown without counting or scanning them, on every database that has them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.text import capfirst

from django_eventbus.bus import buses

from .facts import DATABASE

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator

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
        values = set(newest[: self.sample])
        chosen = self.value()
        if chosen is not None:
            values.add(chosen)  # Django would drop a filter that offers nothing, and show every row
        elif len(values) == 1:
            return []
        return [(value, value or "(none)") for value in sorted(values)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(**{str(self.parameter_name): self.value()})


def recent_values(field: str, *, title: str) -> type[RecentValuesFilter]:
    """Return a filter class over the values of one column."""
    return type(f"Recent_{field}", (RecentValuesFilter,), {"parameter_name": field, "title": title})


class AliasChangeList(ChangeList):
    """Read light rows, and keep the chosen database in the links to single rows."""

    model_admin: ReadOnlyAdmin

    @property
    def is_cut(self) -> bool:
        return self.result_count >= self.list_per_page * REACH

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return super().get_queryset(request, *args, **kwargs).defer(*self.model_admin.heavy)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: Any = list(self.result_list)
        self.result_list = rows
        self.full_result_count = self.result_count  # else the search says "500 results" of what was never counted
        self.model_admin.look_up(rows, using=database_of(request))

    def url_for_result(self, result: Model) -> str:
        url = super().url_for_result(result)
        alias = result._state.db
        return url if alias == buses.databases()[0] else f"{url}?{urlencode({DATABASE: alias})}"


class ReadOnlyAdmin(ModelAdmin):
    """Show rows; the bus itself is the only writer of its tables."""

    about = ""  # what the list shows, in a sentence
    when_empty = ""  # what an empty list means
    listed_first = "newest"  # which rows a list shows that is cut
    heavy: tuple[str, ...] = ()  # columns that no list shows, nor filters by: whoever may not see them could guess
    change_list_template = "admin/eventbus/change_list.html"
    change_form_template = "admin/eventbus/change_form.html"
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()  # a click on a column without an index would sort the whole table
    paginator = UncountedPaginator
    list_per_page = 50
    list_max_show_all = 0
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    actions: Sequence[Any] | None = None

    class Media:
        css = {"all": ["eventbus/admin.css"]}

    def look_up(self, rows: Sequence[Any], *, using: str) -> None:
        """Give rows what their columns name by number only, in as few queries for all of them as for one."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(database_of(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            self.look_up([row], using=database_of(request))
        return row

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup.partition("__")[0] not in self.heavy and super().lookup_allowed(lookup, value, request)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), DatabaseFilter]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AliasChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), "about": self.about, "when_empty": self.when_empty}
        return super().changelist_view(request, {**context, **(extra_context or {})})

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
