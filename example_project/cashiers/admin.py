"""Cashiers in the admin."""

from django.contrib import admin
from django.http import HttpRequest

from .models import Cashier


@admin.register(Cashier)
class CashierAdmin(admin.ModelAdmin):
    """List cashiers; changes go through the commands, which publish."""

    list_display = ("name", "tenant_id")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Cashier | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Cashier | None = None) -> bool:
        return False
