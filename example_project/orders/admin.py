"""Orders in the admin."""

from django.contrib import admin

from .models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """List orders."""

    list_display = ("id", "tenant_id", "customer", "country", "total", "placed_at")
