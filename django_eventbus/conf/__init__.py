"""Which settings are there, and how do they become typed values?"""

from __future__ import annotations

from .environment import from_env
from .identity import service_name, short_environment, source_name
from .loading import load, problems
from .problems import Problem, Severity, redacted
from .sections import (
    KAFKA_TRANSPORT,
    LOCAL_TRANSPORT,
    MEMORY_TRANSPORT,
    BusConfig,
    ConsumerConfig,
    DeadLetterConfig,
    InboxConfig,
    OutboxConfig,
    RetryConfig,
    SagaConfig,
)

__all__ = [
    "KAFKA_TRANSPORT",
    "LOCAL_TRANSPORT",
    "MEMORY_TRANSPORT",
    "BusConfig",
    "ConsumerConfig",
    "DeadLetterConfig",
    "InboxConfig",
    "OutboxConfig",
    "Problem",
    "RetryConfig",
    "SagaConfig",
    "Severity",
    "from_env",
    "load",
    "problems",
    "redacted",
    "service_name",
    "short_environment",
    "source_name",
]
