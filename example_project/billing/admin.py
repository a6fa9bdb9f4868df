"""Tax rates, tills and invoices in the admin."""

from django.contrib import admin

from .models import Invoice, TaxRate, Till


@admin.register(TaxRate)
class TaxRateAdmin(admin.ModelAdmin):
    """Edit tax rates."""

    list_display = ("country", "percent")


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):
    """List invoices."""

    list_display = ("order_id", "tenant_id", "gross", "state", "paid_to", "reminders")


@admin.register(Till)
class TillAdmin(admin.ModelAdmin):
    """List tills."""

    list_display = ("name", "tenant_id")
