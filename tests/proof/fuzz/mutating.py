"""What is done to records, so that some are still what a handler takes, and others are nothing at all?"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Any

from tests.proof.fuzz.records import MARK, Draft, Header, valid, write_json

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, "", "x", [], {}, [1], {"a": 1}, "1", 10**30, -(2**63), 1e300, "NaN", "Infinity"),
    *("2026-02-30T00:00:00Z", "2026-11-21T08:30:00", "2026-11-21T08:30:60Z", "0001-01-01T00:00:00+23:59"),
    *("123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-426614174000}", "\x00", "NEW", "1_0", " 1 "),
)
ODD_LITERALS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"01", b"1.", b"+1", b".5", b"0x1", b"9" * 30, b"9" * 5000),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\x00"', b'"\x1f"', b'"\xff"', b'"\xed\xa0\x80"', b"'x'"),
    *(b"1e-400", b'"\xc0\xaf"', b"tru", b"nul", b"/**/1", b"1,", b"undefined", b"[1,]", b'"\xf4\x90\x80\x80"'),
)
ODD_ATTRIBUTES = (
    *(b"", None, b"\xff", b"a\x1fb", b"a\nb", b"\x00", b"x" * 3000, "\x85".encode(), "\ufdd0".encode(), b" ", b"1.1"),
    *("\ufeffx".encode(), b"0.3", b"1.0 ", b"%zz", b"<a>", b"/a b", b"9" * 40, "\u202e".encode(), b"\xed\xa0\x80"),
)
CONTENT_TYPES = (
    *(b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/vnd.fuzz+json", b"text/json", b""),
    *(None, b"application/avro", b"text/plain", b"application/cloudevents+avro", b"application/cloudevents-batch+json"),
    *(b"\xff", b"application/cloudevents+json; charset=latin1", b"application/cloudevents", b"json", b"/json"),
)
TIMES = (b"2026-11-21t08:30:00z", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2026-13-01T00:00:00Z",
         b"2026-11-21 08:30:00Z", b"1700000000", b"2026-11-21T08:30:00.123456789Z", b"2026-11-21T08:30:00",
         b"2026-11-21T08:30:00+22:00", b"2026-11-21T08:30:00-23:59")  # fmt: skip
TIMESTAMPS = (1, -5, 10**13, 1_700_000_000_000_000, 2**63 - 1, -(2**63), 253_402_300_800_000, -62_135_596_800_001)
NAMES = ("ce_", "ce_Upper", "ce_under_score", "ce_" + "a" * 21, "ce_data", "ce_ü", "ce_x-y", "ce_\x00")


def extra_field(draft: Draft, random: Random) -> None:
    _rewrite(draft, {**draft.payload, random.choice(("more", "ü", "")): random.choice(ODD_VALUES)})


def absent_field(draft: Draft, random: Random) -> None:
    absent = random.choice([*draft.payload])
    _rewrite(draft, {name: value for name, value in draft.payload.items() if name != absent})


def odd_field(draft: Draft, random: Random) -> None:
    _rewrite(draft, {**draft.payload, random.choice([*draft.payload]): random.choice(ODD_VALUES)})


def odd_literal(draft: Draft, random: Random) -> None:
    name = random.choice([*draft.payload, "more"])
    _rewrite(draft, {**draft.payload, name: "@@@"})
    draft.value = (draft.value or b"").replace(b'"@@@"', random.choice(ODD_LITERALS))


def other_shape(draft: Draft, random: Random) -> None:
    _rewrite(draft, random.choice(([], "text", 1, None, {}, [draft.payload])))


def doubled_field(draft: Draft, random: Random) -> None:
    name = write_json(random.choice([*draft.payload]))
    draft.value = (draft.value or b"").replace(name + b":", name + b":1," + name + b":", 1)


def deep(draft: Draft, random: Random) -> None:
    depth = 100_000 if random.random() < 0.3 else random.randrange(1, 40)
    _rewrite(draft, {**draft.payload, "more": "@@@"})
    draft.value = (draft.value or b"").replace(b'"@@@"', b"[" * depth + b"]" * depth)


def flipped_byte(draft: Draft, random: Random) -> None:
    value = bytearray(draft.value or b"")
    if value:
        value[random.randrange(len(value))] ^= 1 << random.randrange(8)
    draft.value = bytes(value)


def other_byte(draft: Draft, random: Random) -> None:
    value = bytearray(draft.value or b"")
    at = random.randrange(len(value) + 1)
    value[at : at + random.randrange(2)] = bytes([random.choice((0, 0x0A, 0x20, 0x22, 0x5C, 0x7D, 0x80, 0xC3, 0xFF))])
    draft.value = bytes(value)


def cut_off(draft: Draft, random: Random) -> None:
    value = draft.value or b""
    draft.value = value[: random.randrange(len(value) + 1)]


def byte_order_mark(draft: Draft, random: Random) -> None:
    text = (draft.value or b"").decode("utf-8", "replace")
    draft.value = text.encode(random.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32")))


def spaced(draft: Draft, random: Random) -> None:
    draft.value = b" \r\n\t" + (draft.value or b"") + random.choice((b" ", b"\n\n", b"\x0b", b"\x00", b"{}"))


def large(draft: Draft, random: Random) -> None:
    _rewrite(draft, {**draft.payload, "more": "x" * random.randrange(10_000, 100_000)})


def no_value(draft: Draft, random: Random) -> None:
    draft.value = None


def nothing_but_a_value(draft: Draft, random: Random) -> None:
    draft.headers = []


def odd_key(draft: Draft, random: Random) -> None:
    draft.key = random.choice((None, b"", b"\x00", b"\xff\xfe", b"k" * 3000, "ü|\\".encode()))


def odd_timestamp(draft: Draft, random: Random) -> None:
    draft.timestamp = random.choice(TIMESTAMPS)


def absent_attribute(draft: Draft, random: Random) -> None:
    draft.attributes.pop(random.choice([*draft.attributes]))
    draft.write()


def odd_attribute(draft: Draft, random: Random) -> None:
    name = random.choice([*draft.attributes, "dataschema", "subject", "ext"])
    if draft.is_structured:
        draft.attributes[name] = random.choice(ODD_VALUES)
        draft.write()
    else:
        headers = [pair for pair in draft.headers if pair[0] != f"ce_{name}"]
        draft.headers = [*headers, (f"ce_{name}", random.choice(ODD_ATTRIBUTES))]


def odd_time(draft: Draft, random: Random) -> None:
    draft.attributes["time"] = random.choice(TIMES).decode()
    draft.write()


def odd_name(draft: Draft, random: Random) -> None:
    name = random.choice(NAMES)
    if draft.is_structured:
        draft.attributes[name.removeprefix("ce_")] = "x"
        draft.write()
    else:
        draft.headers.append((name, b"x"))


def other_version(draft: Draft, random: Random) -> None:
    draft.attributes["eventversion"] = random.choice(("0", "2", "3", "1.0", "9" * 50, "v1"))
    draft.write()


def other_type(draft: Draft, random: Random) -> None:
    name = str(draft.attributes.get("type", "none"))
    draft.attributes["type"] = random.choice((name.upper(), f"{name} ", "fuzz.measured", "ü", "x" * 3000))
    draft.write()


def content_type(draft: Draft, random: Random) -> None:
    headers = [pair for pair in draft.headers if pair[0] != "content-type"]
    name = random.choice(("content-type", "Content-Type", "CONTENT-TYPE"))
    draft.headers = [*headers, (name, random.choice(CONTENT_TYPES))]


def doubled_header(draft: Draft, random: Random) -> None:
    header = random.choice([*draft.headers, ("x-own", b"1")])
    at = random.randrange(len(draft.headers) + 1)
    draft.headers[at:at] = [header, header] if header[0] == "x-own" else [header]


def absent_header(draft: Draft, random: Random) -> None:
    if draft.headers:
        draft.headers.pop(random.randrange(len(draft.headers)))


def foreign_headers(draft: Draft, random: Random) -> None:
    own: list[Header] = [("latin", b"\xe4"), ("none", None), ("ctl", b"\x00\x1f"), ("na\x1fme", b"v"), ("CE_id", b"1")]
    trace: list[Header] = [("traceparent", b"\xff"), ("traceparent", b"00-1-2-3"), ("baggage", b"\x00"), ("", b"1")]
    draft.headers += random.sample(own + trace, 3)


def huge_header(draft: Draft, random: Random) -> None:
    draft.headers.append(("x-huge", b"h" * random.randrange(10_000, 60_000)))


def shuffled_headers(draft: Draft, random: Random) -> None:
    random.shuffle(draft.headers)


def base64_data(draft: Draft, random: Random) -> None:
    if draft.is_structured:
        data: Any = b64encode(write_json(draft.payload)).decode()
        members = random.choice(({"data_base64": data}, {"data": 1, "data_base64": data}, {"data_base64": "*"}, {}))
        odd: dict[str, Any] = (
            {"data_base64": random.choice((None, True, 1234, [], ""))} if random.random() < 0.3 else members
        )
        draft.value = write_json({**draft.attributes, **odd})


def known_id(draft: Draft, random: Random) -> None:
    draft.attributes["id"] = f"known {draft.number // 200}"
    draft.write()


def doubled_member(draft: Draft, random: Random) -> None:
    if draft.is_structured:
        draft.value = (draft.value or b"").replace(b"{", b'{"' + random.choice((b"id", b"ext", b"data")) + b'":"x",', 1)


Mutation = Callable[[Draft, Random], None]
# How often each is drawn. Most of the first half leaves a record valid.
MUTATIONS: dict[Mutation, int] = {
    extra_field: 60, odd_key: 60, odd_timestamp: 30, foreign_headers: 60, shuffled_headers: 40, known_id: 30,
    no_value: 60, other_version: 30, other_type: 30, content_type: 40, spaced: 20, base64_data: 20, odd_time: 15,
    absent_field: 30, odd_field: 60, odd_literal: 60, other_shape: 10, doubled_field: 10, deep: 4, flipped_byte: 60,
    other_byte: 40, cut_off: 20, byte_order_mark: 6, nothing_but_a_value: 6, absent_attribute: 20, odd_attribute: 60,
    odd_name: 15, doubled_header: 30, absent_header: 30, doubled_member: 6, large: 1, huge_header: 1,
}  # fmt: skip
NEED_FIELDS = frozenset({extra_field, absent_field, odd_field, odd_literal, doubled_field, deep, large})
UNTOUCHED = 0.45


def draw(number: int, *, seed: int) -> Draft:
    """Make the record of this number: the same one for the same seed, whatever came before."""
    random = Random(f"{seed} {number}")
    draft = valid(number, random, seed=seed)
    if random.random() > UNTOUCHED:
        for mutation in random.choices([*MUTATIONS], [*MUTATIONS.values()], k=1 + (random.random() < 0.15)):
            if mutation not in NEED_FIELDS or (isinstance(draft.payload, dict) and draft.payload):
                mutation(draft, random)
                draft.mutations.append(mutation.__name__)
    draft.headers.append((MARK, f"{number} {'+'.join(draft.mutations)}".encode()))
    return draft


def _rewrite(draft: Draft, payload: Any) -> None:
    draft.payload = payload
    draft.write()
