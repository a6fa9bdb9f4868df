"""Under which names does a worker join its group, and how does it tell what became of it?"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from django_eventbus.conf import BusConfig
from django_eventbus.delivery.groups import HandlerGroup
from django_eventbus.exceptions import EventBusError
from django_eventbus.transports.base import ConsumerOptions


class ConsumerFailed(EventBusError):
    """The worker cannot go on: the broker refuses this member, or this package has a defect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a run came to."""

    messages: int  # that are done, in whatever way
    handled: int = 0  # handler runs that succeeded
    duplicates: int = 0  # deliveries that the inbox knew
    retried: int = 0  # handler runs that failed and will be repeated
    dead_lettered: int = 0  # deliveries, and records that no handler can get, that ended there
    skipped: int = 0  # records that concern no handler: unknown events, versions left out, null values
    is_caught_up: bool = False
    is_timed_out: bool = False
    is_clean: bool = True  # everything that had begun was finished


def owner_name(instance: str) -> str:
    """Name this process as operators see it on the partitions' rows."""
    return f"{socket.gethostname()}:{os.getpid()}:{instance}"


def member_options(config: BusConfig, group: HandlerGroup, instance: str) -> ConsumerOptions:
    """Say how the consumer of a worker joins; `instance` tells the processes of one host apart."""
    name = os.environ.get("POD_NAME") or socket.gethostname()
    return ConsumerOptions(
        group=group.name,
        client_id=f"{config.service}-{name}-{instance}",
        instance_id=f"{name}-{instance}" if config.consumer.static_membership else None,
        report_ends=True,  # also for members that are not asked: it takes their offsets past transaction markers
    )
