"""How does a model publish, together with its own change, the events that its methods record?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from django.db import models, router, transaction

from .bus import Options, publish
from .events.identifiers import uuid7
from .events.registry import events
from .outbox.fate import Fate

_NOT_COPIED = frozenset({"_events_recorded", "_events_published"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """Be an event that waits for its instance to be saved."""

    event: object
    options: Options


class RecordsEvents(models.Model):
    """Let a model's methods record events, which `save()` and `delete()` publish in the transaction of the change.

    Nothing is published for a save that fails or is rolled back: its events wait for the next one that succeeds. A copy
    of the instance has none. `bulk_create()`, `bulk_update()` and `QuerySet.update()` call no `save()`.
    """

    _events_recorded: tuple[_Recorded, ...] = ()
    _events_published: tuple[tuple[Fate, tuple[_Recorded, ...]], ...] = ()  # may still be rolled back

    class Meta:
        abstract = True

    def __getstate__(self) -> Any:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _NOT_COPIED}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save as any model does, then publish what was recorded, in one transaction."""
        with self._publishing_recorded(args[2] if len(args) > 2 else kwargs.get("using")):  # Django 5 takes it so
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete as any model does, then publish what was recorded, in one transaction."""
        with self._publishing_recorded(args[0] if args else kwargs.get("using")):
            return super().delete(*args, **kwargs)

    @property
    def recorded_events(self) -> tuple[Any, ...]:
        """Return the events that the next `save()` would publish, in order."""
        self._take_back()
        return tuple(each.event for each in self._events_recorded)

    def record_event(self, event: object, **options: Unpack[Options]) -> UUID:
        """Keep an event, with options as for `publish()`, until the instance is saved or deleted; return its id."""
        events.contract_of(event)
        self._take_back()
        # The id is fixed here: should an event ever travel twice, each handler still takes it once.
        event_id = options.get("event_id") or uuid7()
        recorded = _Recorded(event=event, options={**options, "event_id": event_id})
        self._events_recorded = (*self._events_recorded, recorded)
        return event_id

    @contextmanager
    def _publishing_recorded(self, using: str | None) -> Iterator[None]:
        alias = using or router.db_for_write(type(self), instance=self)
        # Without a savepoint, as save() itself: who catches an error can't commit the change without its events.
        with transaction.atomic(using=alias, savepoint=False):
            yield
            self._publish_recorded(alias)

    def _publish_recorded(self, alias: str) -> None:
        self._take_back()
        recorded, self._events_recorded = self._events_recorded, ()  # a handler may save this very instance
        if not recorded:
            return
        fate = Fate(alias)
        try:
            for each in recorded:
                publish(each.event, **each.options)
        except BaseException:
            self._events_recorded = (*recorded, *self._events_recorded)
            raise
        self._events_published = (*self._events_published, (fate, recorded))

    def _take_back(self) -> None:
        """Record again what was published in a transaction, or below a savepoint, that has been rolled back."""
        if not self._events_published:
            return
        undone = [each for fate, recorded in self._events_published if fate.is_rolled_back for each in recorded]
        self._events_published = tuple(
            (fate, recorded)
            for fate, recorded in self._events_published
            if not fate.is_committed and not fate.is_rolled_back
        )
        self._events_recorded = (*undone, *self._events_recorded)
