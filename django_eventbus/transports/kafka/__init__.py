"""How do bytes move over Apache Kafka?"""

from __future__ import annotations

try:
    import confluent_kafka as _client  # noqa: F401
except ImportError as exc:
    raise ImportError("The Kafka transport needs its client: pip install 'django-eventbus[kafka]'.") from exc

from .transport import KafkaTransport

__all__ = ["KafkaTransport"]
