"""Does a declaration read as an event should?"""

from __future__ import annotations

import re

from .naming import to_kebab

_WIRE_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+")
_PRIMITIVES = frozenset({
    "str", "string", "int", "integer", "float", "number", "decimal", "bool", "boolean", "bytes", "uuid", "guid",
    "date", "datetime", "time", "timestamp", "dict", "list", "object", "any", "id",
})  # fmt: skip
_VERBS = frozenset({
    "accept", "activate", "add", "allocate", "approve", "archive", "assign", "book", "calculate", "cancel", "capture",
    "change", "charge", "check", "clean", "close", "complete", "confirm", "create", "deactivate", "debit", "delete",
    "deliver", "disable", "do", "enable", "execute", "expire", "fulfil", "fulfill", "generate", "get", "handle",
    "import", "increase", "invite", "issue", "make", "mark", "notify", "open", "order", "pay", "place", "process",
    "publish", "receive", "refund", "register", "reject", "release", "remove", "rename", "replace", "request",
    "reserve", "reset", "resend", "retry", "return", "run", "schedule", "send", "set", "ship", "start", "stop",
    "submit", "sync", "update", "upload", "validate", "verify",
})  # fmt: skip
_PARTICIPLES = frozenset({
    "begun", "bought", "broken", "built", "chosen", "cut", "done", "drawn", "fallen", "fed", "felt", "found", "given",
    "gone", "grown", "heard", "held", "hidden", "hit", "kept", "known", "left", "lent", "lost", "made", "met",
    "overdue", "paid", "put", "read", "reset", "risen", "run", "seen", "sent", "set", "shut", "sold", "spent",
    "split", "stolen", "sunk", "taken", "told", "thrown", "undone", "won", "written",
})  # fmt: skip


def is_wire_name(name: str) -> bool:
    """Say whether an event's name has the form domain.context.event-in-kebab (two segments at least)."""
    return _WIRE_NAME.fullmatch(name) is not None


def is_primitive(entity: str) -> bool:
    """Say whether an entity is named after a data type."""
    return entity.lower() in _PRIMITIVES


def is_imperative(class_name: str) -> bool:
    """Say whether a class name is an order (CreateUser, SendMailCommand) and not a fact (UserCreated)."""
    words = re.sub(r"-?(v?[0-9]+|event)$", "", to_kebab(class_name)).split("-")
    if words[-1] == "command":
        return True
    is_past = words[-1].endswith("ed") or words[-1] in _PARTICIPLES
    return len(words) > 1 and words[0] in _VERBS and not is_past
