"""What travels for a trip; answers of each service have a topic of their own, so that they race."""

from __future__ import annotations

import os

from django_eventbus.events.contract import event

TOPIC = os.environ.get("HISTORY_TOPIC", "trips")
TOPICS = ("started", "hints", "asks", "flights", "hotels", "cars", "undos", "undone")


@event("trip.started", topic=f"/{TOPIC}.started", domain="trip", key="trip")
class Started:
    trip: str


@event("trip.hinted", topic=f"/{TOPIC}.hints", domain="trip", key="trip")
class Hinted:
    trip: str


@event("trip.asked", topic=f"/{TOPIC}.asks", domain="trip", key="trip")
class Asked:
    trip: str
    part: str
    number: int  # which try


@event("trip.flight-answered", topic=f"/{TOPIC}.flights", domain="trip", key="trip")
class FlightAnswered:
    trip: str
    number: int
    is_done: bool


@event("trip.hotel-answered", topic=f"/{TOPIC}.hotels", domain="trip", key="trip")
class HotelAnswered:
    trip: str
    number: int
    is_done: bool


@event("trip.car-answered", topic=f"/{TOPIC}.cars", domain="trip", key="trip")
class CarAnswered:
    trip: str
    number: int
    is_done: bool


@event("trip.undo", topic=f"/{TOPIC}.undos", domain="trip", key="trip")
class Undo:
    trip: str
    part: str
    number: int


@event("trip.undone", topic=f"/{TOPIC}.undone", domain="trip", key="trip")
class Undone:
    trip: str
    part: str
    number: int


Answer = FlightAnswered | HotelAnswered | CarAnswered
ANSWERS: dict[str, type[Answer]] = {"flight": FlightAnswered, "hotel": HotelAnswered, "car": CarAnswered}
PARTS = {answer: part for part, answer in ANSWERS.items()}
