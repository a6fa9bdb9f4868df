"""A trip: a flight and a hotel at once, then a car; asked for again after a while, and undone where one is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_eventbus.delivery.retry import RetryPolicy
from django_eventbus.sagas.routing import not_found, on, on_timeout, starts
from django_eventbus.sagas.saga import Saga
from tests.history.trips.events import (
    PARTS,
    Answer,
    Asked,
    CarAnswered,
    FlightAnswered,
    Hinted,
    HotelAnswered,
    Started,
    Undo,
    Undone,
)
from tests.history.trips.fates import PATIENCE, befall
from tests.history.trips.log import Line

MOST_REMINDERS = 2
POLICY = RetryPolicy(max_attempts=12, delays=(0.15, 0.5, 2.0, 5.0), jitter=0)  # for hints that come long before
LONG = 3600.0  # seconds, which no run lasts


@dataclass
class Trip:
    steps: int = 0
    is_hinted: bool = False
    reminders: int = 0
    tries: dict[str, int] = field(default_factory=dict)  # part -> how often it was asked for
    booked: dict[str, int] = field(default_factory=dict)  # part -> try that counts
    owed: list[str] = field(default_factory=list)  # part/number whose undoing is to be confirmed


class TripSaga(Saga[Trip], name="trip.saga", correlate="trip", retry=POLICY):
    @starts(Started)
    def begin(self, event: Started) -> None:
        line = Line(what="begin")
        self._arm(line, "whole", LONG)
        self._arm(line, "answers", PATIENCE)
        self._ask(line, "flight")
        self._ask(line, "hotel")
        self._write(line)

    @on(Hinted)
    def hint(self, event: Hinted) -> None:
        line = Line(what="hint")
        self.state.is_hinted = True
        self._proceed(line)
        self._write(line)

    @on(FlightAnswered, HotelAnswered, CarAnswered)
    def answered(self, event: Answer) -> None:
        part = PARTS[type(event)]
        line = Line(what=f"answer {part}/{event.number}")
        if event.is_done:
            self._book(line, Undo(trip=event.trip, part=part, number=event.number))
        elif self.status != "compensating" and part not in self.state.booked:
            self._undo(line)
        self._write(line)

    @on_timeout("answers")
    def ask_again(self) -> None:
        line = Line(what="timeout answers")
        if self.state.reminders == MOST_REMINDERS:
            self._undo(line)
        else:
            self.state.reminders += 1
            for part in [part for part in self.state.tries if part not in self.state.booked]:
                self._ask(line, part)
            self._arm(line, "answers", PATIENCE)
        self._write(line)

    @on_timeout("undoing")
    def wait_on(self) -> None:
        line = Line(what="timeout undoing")
        self._arm(line, "undoing", LONG)
        self._write(line)

    @on_timeout("whole")
    def give_up(self) -> None:
        line = Line(what="timeout whole")
        self._undo(line)
        self._write(line)

    @on(Undone)
    def undone(self, event: Undone) -> None:
        line = Line(what=f"undone {event.part}/{event.number}")
        if (place := f"{event.part}/{event.number}") in self.state.owed:
            self.state.owed.remove(place)
            self._end_where_all_is_undone()
        self._write(line)

    @not_found(FlightAnswered, HotelAnswered, CarAnswered)
    def late(self, event: Answer) -> Undo | None:
        part = PARTS[type(event)]
        line = Line(what=f"late {part}/{event.number}", undone=[f"{part}/{event.number}"] if event.is_done else [])
        line.write(self.key, number=0, status=str(self.status), now=self.now.timestamp(), context=self.context)
        befall(line.what, self.key, self.context, doomed=15)
        return Undo(trip=event.trip, part=part, number=event.number) if event.is_done else None

    def _book(self, line: Line, undo: Undo) -> None:
        if self.status == "compensating":
            self.add_compensation(undo)
            self._owe(line, f"{undo.part}/{undo.number}")
        elif undo.part in self.state.booked:
            self.publish(undo)
            line.undone.append(f"{undo.part}/{undo.number}")
        else:
            self.state.booked[undo.part] = undo.number
            self.add_compensation(undo)
            self._proceed(line)

    def _proceed(self, line: Line) -> None:
        state = self.state
        if self.status == "compensating" or not (state.is_hinted and {"flight", "hotel"} <= state.booked.keys()):
            return
        if "car" in state.booked:
            self.complete()
        elif "car" not in state.tries:
            self._ask(line, "car")
            self._arm(line, "answers", PATIENCE)

    def _undo(self, line: Line) -> None:
        self.compensate(wait=True)
        for part, number in reversed(self.state.booked.items()):
            self._owe(line, f"{part}/{number}")
        if self.state.owed:
            self._arm(line, "undoing", PATIENCE)
        self._end_where_all_is_undone()

    def _owe(self, line: Line, place: str) -> None:
        self.state.owed.append(place)
        line.undone.append(place)

    def _end_where_all_is_undone(self) -> None:
        if not self.state.owed:
            self.complete()

    def _ask(self, line: Line, part: str) -> None:
        number = self.state.tries[part] = self.state.tries.get(part, 0) + 1
        self.publish(Asked(trip=self.key, part=part, number=number))
        line.asked.append(f"{part}/{number}")

    def _arm(self, line: Line, name: str, delay: float) -> None:
        self.schedule_timeout(name, delay)
        line.armed[name] = self.now.timestamp() + delay

    def _write(self, line: Line) -> None:
        self.state.steps += 1
        number, now = self.state.steps, self.now.timestamp()
        line.write(self.key, number=number, status=str(self.status), now=now, context=self.context)
        befall(f"{line.what} {self.state.reminders}", self.key, self.context, doomed=15)
