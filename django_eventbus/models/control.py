"""Which buses share these tables, and under which number?"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections, models, transaction

ENSURE = """
INSERT INTO eventbus_control (bus, scope, target) VALUES (%s, 'bus', '')
ON CONFLICT (bus, scope, target) DO UPDATE SET target = excluded.target RETURNING id
"""

FIND_CHANNEL = """
SELECT 'eventbus_outbox_' || id FROM eventbus_control WHERE bus = %s AND scope = 'bus' AND target = ''
"""

_numbers: dict[tuple[str, str], int] = {}  # (database alias, bus alias); only rows known to be committed


def bus_number(bus: str, using: str) -> int:
    """Return the number of a bus in a database; joins the caller's transaction. See `ControlQuerySet.bus_number`."""
    known = _numbers.get((using, bus))
    return ControlFlag.objects.using(using).bus_number(bus) if known is None else known


def _remember(using: str, bus: str, number: int) -> None:
    # Test cases run these hooks while the transaction that may have made the row is still open.
    if not connections[using].in_atomic_block:
        _numbers[using, bus] = number


class ControlScope(models.TextChoices):
    BUS = "bus", "bus"


class ControlQuerySet(models.QuerySet["ControlFlag"]):
    def bus_number(self, bus: str) -> int:
        """Return the number that stands for a bus in the outbox, creating its row where `migrate` did not.

        Joins the caller's transaction; the number is remembered only after a commit, since a rolled-back row would
        give later messages a number that no relay reads.
        """
        known = _numbers.get((self.db, bus))
        if known is not None:
            return known
        row = self.filter(bus=bus, scope=ControlScope.BUS, target="").values_list("id", flat=True).first()
        number = self._ensure(bus) if row is None else row
        if connections[self.db].get_autocommit() or connections[self.db].in_atomic_block:
            transaction.on_commit(lambda: _remember(self.db, bus, number), using=self.db)
        return number

    def ensure_buses(self, buses: Iterable[str]) -> None:
        """Create the rows of all configured buses; called after `migrate`."""
        _numbers.clear()
        for bus in buses:
            self._ensure(bus)

    def _ensure(self, bus: str) -> int:
        with connections[self.db].cursor() as cursor:
            cursor.execute(ENSURE, [bus])
            return int(cursor.fetchone()[0])


class ControlFlag(models.Model):
    """Be what operators and relays agree on about one bus (or later, one topic or handler)."""

    id = models.SmallAutoField(primary_key=True)  # the bus number: part of the relay's lock ids
    bus = models.TextField()  # alias in settings
    scope = models.TextField(choices=ControlScope.choices)
    target = models.TextField(blank=True, default="")

    objects = ControlQuerySet.as_manager()

    class Meta:
        db_table = "eventbus_control"
        default_permissions = ("view",)
        permissions = [("control_eventbus", "Can pause, resume, cancel and hasten what the event bus does")]
        verbose_name = "control flag"
        constraints = [models.UniqueConstraint(fields=["bus", "scope", "target"], name="eventbus_control_unique")]

    def __str__(self) -> str:
        return f"{self.bus} {self.scope} {self.target}".rstrip()
