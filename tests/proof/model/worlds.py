"""How large are the worlds that are explored? Each asks for the faults that its part of the path is about."""

from __future__ import annotations

from tests.proof.model.state import Bounds

SMALL: dict[str, Bounds] = {
    "floor": Bounds(keys="aab", relays=1, consumers=0, handlers=0, is_looking=True, rollbacks=1),
    "sending": Bounds(keys="aa", consumers=0, handlers=0, crashes=2, evictions=1, rollbacks=1),
    "refusing": Bounds(keys="aa", relays=1, consumers=0, handlers=0, crashes=1, outages=1, refusals=1, troubles=1),
    "handling": Bounds(keys="aa", sent=(1, 2), relays=0, expulsions=1, evictions=1, failures=1),
    "repeating": Bounds(keys="ab", sent=(1, 2, 1, 2), relays=0, expulsions=1, failures=1),
    "retrying": Bounds(keys="aa", sent=(1, 2), relays=0, crashes=1, failures=3, replays=1),
    "neighbours": Bounds(keys="aa", sent=(1, 2), relays=0, handlers=2, crashes=1, failures=2),
    "whole": Bounds(keys="aa", relays=1, consumers=1, crashes=1, failures=1),
}
LARGE: dict[str, Bounds] = {
    "floor": Bounds(keys="aab", relays=1, consumers=0, handlers=0, is_looking=True, crashes=1, rollbacks=1),
    "sending": Bounds(keys="aab", consumers=0, handlers=0, crashes=1, evictions=1, rollbacks=1),
    "refusing": Bounds(keys="aa", consumers=0, handlers=0, crashes=1, evictions=1, outages=1, refusals=1, troubles=1),
    "handling": Bounds(keys="aab", sent=(1, 2, 3), relays=0, crashes=1, expulsions=1, evictions=1, failures=1),
    "repeating": Bounds(keys="aa", sent=(1, 1, 2), relays=0, crashes=1, expulsions=1, failures=2),
    "retrying": Bounds(keys="aa", sent=(1, 2), relays=0, crashes=1, expulsions=1, failures=3, replays=1),
    "neighbours": Bounds(keys="aa", sent=(1, 2), relays=0, handlers=2, crashes=1, expulsions=1, failures=2),
    "whole": Bounds(keys="aa", relays=2, consumers=2, crashes=1, failures=1),
}
