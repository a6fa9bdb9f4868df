"""What does a valid record of the fuzz run look like?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

Header = tuple[str, bytes | None]

STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
WORDS = ("order", "ü", "日本", "a b", "\U0001f600", 'say "hi"', "back\\slash", "x" * 40, "0", "line\nbreak", "null")
ZONES = ("Z", "+00:00", "+02:00", "-09:30")
MARK = "x-fuzz"  # a header of the sender's own: number of the record and what was done to it


@dataclass(slots=True, kw_only=True)
class Draft:
    """One record on its way to the broker; what is not to be sent is changed in place."""

    number: int
    key: bytes | None
    attributes: dict[str, Any]
    payload: Any
    is_structured: bool
    headers: list[Header] = field(default_factory=list)  # in front of and behind what the mode needs
    value: bytes | None = None
    timestamp: int = 0  # 0: now
    mutations: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Make headers and value of attributes and payload."""
        if self.is_structured:
            document = {**self.attributes, "datacontenttype": "application/json", "data": self.payload}
            self.headers = [("content-type", STRUCTURED)]
            self.value = write_json(document)
            return
        self.headers = [(f"ce_{name}", str(text).encode()) for name, text in self.attributes.items()]
        self.headers.append(("content-type", b"application/json"))
        self.value = write_json(self.payload)


def write_json(value: Any) -> bytes:
    """Write JSON without spaces, in UTF-8."""
    return _encoder(value).encode("utf-8", "surrogatepass")


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def valid(number: int, random: Random, *, seed: int) -> Draft:
    """Make the record of this number, which a handler takes, or which concerns nobody."""
    name, version, payload = random.choices(EVENTS, SHARES)[0](random)
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": _message_id(number, random, seed=seed),
        "type": name,
        "source": random.choice(("/fuzz", "https://example.org/fuzz?x=%20#f", "urn:fuzz")),
    }
    if version:
        attributes["eventversion"] = version
    if random.random() < 0.7:
        attributes["time"] = _moment(random)
    if random.random() < 0.1:
        attributes |= {"subject": _text(random) or "s", "tenantid": "tenant", "correlationid": "c"}
        attributes["subject"] = attributes["subject"].replace("\n", " ")
    made = Draft(
        number=number,
        key=b"key%d" % random.randrange(5000),
        attributes=attributes,
        payload=payload,
        is_structured=random.random() < 0.35,
    )
    made.write()
    return made


def _message_id(number: int, random: Random, *, seed: int) -> str:
    if random.random() < 0.5:
        high = 0x0199_0000_0000 + number << 80 | 7 << 76 | seed % 4096 << 64
        return str(UUID(int=high | 2 << 62 | number))
    return f"{seed}-{number}" if random.random() < 0.9 else f"ü {seed} {number}"


def _order(random: Random) -> tuple[str, str, Any]:
    payload: dict[str, Any] = {
        "order_id": str(UUID(int=random.getrandbits(128))),
        "placed_at": _moment(random),
        "status": random.choice(("new", "paid", "gone")),
        "total": random.choice((f"{random.random():.3f}", random.randrange(10**6), random.random(), "1E+3")),
        "lines": [
            {"sku": _text(random), "quantity": random.randrange(-5, 10**12), "price": f"{random.randrange(10**6)}.50"}
            for _ in range(random.randrange(4))
        ],
    }
    if random.random() < 0.5:
        payload["address"] = random.choice((None, {"street": _text(random)}, {"street": "", "lines": ["a", "ü"]}))
    if random.random() < 0.3:
        payload["tags"] = {_text(random): _text(random) for _ in range(3)}
    if random.random() < 0.3:
        payload["note"] = random.choice((None, _text(random)))
    return "fuzz.order-placed", random.choice(("", "1")), payload


def _measured(random: Random) -> tuple[str, str, Any]:
    value = random.choice((random.gauss(5, 5), random.randrange(100), 1e300, -0.0, 5e-324))
    payload: dict[str, Any] = {"sensor": random.randrange(10**9), "value": value, "is_final": random.random() < 0.5}
    if random.random() < 0.5:
        payload["samples"] = [random.random() for _ in range(random.randrange(5))]
    return "fuzz.measured", random.choice(("", "1")), payload


def _renamed(random: Random) -> tuple[str, str, Any]:
    if random.random() < 0.5:
        payload = {"user_id": random.randrange(10**9), "first": _text(random), "last": _text(random), "age": 4.5}
        return "fuzz.renamed", random.choice(("", "1")), payload
    return "fuzz.renamed", "2", {"user_id": random.randrange(10**9), "full_name": _text(random)}


def _priced(random: Random) -> tuple[str, str, Any]:
    if random.random() < 0.2:
        return "fuzz.priced", random.choice(("", "1")), {"sku": "old"}
    sku = "later" if random.random() < 0.05 else _text(random)
    return "fuzz.priced", "2", {"sku": sku, "price": random.choice(("10.5", 10, 10.25))}


def _unheard(random: Random) -> tuple[str, str, Any]:
    return random.choice(("fuzz.unheard", "shop.ORDER placed", "fuzz.order-placed.v1")), "", random.choice(WORDS)


EVENTS = (_order, _measured, _renamed, _priced, _unheard)
SHARES = (60, 7, 17, 4, 12)


def _text(random: Random) -> str:
    return random.choice(WORDS) if random.random() < 0.5 else f"w{random.randrange(10**6)}"


def _moment(random: Random) -> str:
    r = random.randrange
    fraction = f".{r(10**6):06d}" if r(2) else ""
    return f"20{r(100):02d}-{r(1, 13):02d}-{r(1, 29):02d}T{r(24):02d}:{r(60):02d}:{r(60):02d}{fraction}{ZONES[r(4)]}"
