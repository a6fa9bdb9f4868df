"""Parcels in the admin."""

from django.contrib import admin

from .models import Parcel


@admin.register(Parcel)
class ParcelAdmin(admin.ModelAdmin):
    """List parcels."""

    list_display = ("order_id", "recipient", "country", "state")
