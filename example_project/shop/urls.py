"""Addresses of the example shop."""

from billing.views import cancel, pay
from cashiers.views import cashier_detail, cashier_list
from django.contrib import admin
from django.urls import path
from orders.views import order_list

urlpatterns = [
    path("admin/", admin.site.urls),
    path("cashiers/", cashier_list),
    path("cashiers/<uuid:cashier_id>/", cashier_detail),
    path("orders/", order_list),
    path("invoices/<uuid:order_id>/pay/", pay),
    path("invoices/<uuid:order_id>/cancel/", cancel),
]
