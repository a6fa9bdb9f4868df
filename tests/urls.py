"""The addresses of the suite's project; the admin finds its pages here, so tests without pages start without them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

admin.autodiscover()

urlpatterns = [path("admin/", admin.site.urls)]
