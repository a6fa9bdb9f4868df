"""How can someone follow an event through OpenTelemetry, and at no cost without it?"""

from __future__ import annotations

from .attributes import system_of
from .context import TraceContext, capture, suppressed
from .metrics import connect_metrics
from .spans import Operation, processing, processing_batch, publishing, sending

__all__ = [
    "Operation",
    "TraceContext",
    "capture",
    "connect_metrics",
    "processing",
    "processing_batch",
    "publishing",
    "sending",
    "suppressed",
    "system_of",
]
