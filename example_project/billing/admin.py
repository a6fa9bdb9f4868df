"""Tax rates and invoices in the admin."""

from django.contrib import admin

from .models import Invoice, TaxRate


@admin.register(TaxRate)
class TaxRateAdmin(admin.ModelAdmin):
    """Edit tax rates."""

    list_display = ("country", "percent")


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):
    """List invoices."""

    list_display = ("order_id", "gross")
