"""How is a message's content shown to a person, and its exact bytes handed out?"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .browsing import ModelAdmin
from .facts import DATABASE

SHOWN = 64 * 1024  # bytes of a payload that a page shows; the download has all
PERMISSION = "eventbus.view_payload"
GUARDED = frozenset({"content", "record_headers"})  # fields that show what a message holds
HIDDEN = (
    "Content",
    {
        "fields": (),
        "description": "Payload and headers are hidden: they need the permission to see payloads of messages.",
    },
)


class PayloadAdmin(ModelAdmin):
    """Add a readable payload and a download of the exact bytes; both need the permission `view_payload`."""

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<path:object_id>/payload/",
            self.admin_site.admin_view(self.download_payload),
            name=f"{self.opts.app_label}_{self.opts.model_name}_payload",
        )
        return [download, *super().get_urls()]

    def download_payload(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not (self.has_view_permission(request) and may_see(request)):
            raise PermissionDenied
        message = self.get_object(request, object_id)
        if message is None or message.payload is None:
            raise Http404(f"No payload of {self.opts.verbose_name} {object_id}.")
        response = HttpResponse(bytes(message.payload), content_type="application/octet-stream")
        response["Content-Disposition"] = f'attachment; filename="{self.opts.model_name}-{object_id}.bin"'
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        sections: list[Any] = list(super().get_fieldsets(request, obj))
        if may_see(request):
            return sections
        return [HIDDEN if GUARDED.intersection(section["fields"]) else (name, section) for name, section in sections]

    @admin.display(description="payload")
    def content(self, message: Any) -> SafeString:
        if message.payload is None:
            return format_html("<em>{}</em>", "no payload (tombstone)")
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_payload", args=[message.pk])
        return format_html(
            '<div><pre class="eventbus-text">{}</pre><a href="{}?{}={}">{}</a></div>',
            readable(bytes(message.payload)),
            url,
            DATABASE,
            message._state.db,
            f"Download the exact {len(message.payload)} bytes",
        )


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def readable(payload: bytes) -> str:
    """Return JSON indented, other text as it is, anything else as escaped bytes; long content is cut and says so."""
    cut = payload[:SHOWN]
    try:
        text = (
            json.dumps(json.loads(payload), indent=2, ensure_ascii=False) if len(cut) == len(payload) else cut.decode()
        )
    except (ValueError, RecursionError):
        text = cut.decode(errors="backslashreplace")
    return text if len(cut) == len(payload) else f"{text}\n... cut at {SHOWN} of {len(payload)} bytes"
