"""Addresses of the example shop."""

from django.contrib import admin
from django.urls import path
from orders.views import order_list

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/", order_list),
]
