"""The handler of relay and consumer processes whose servers are stopped."""

from __future__ import annotations

from tests.conformance.happenings import noting

noting("failure.note")
