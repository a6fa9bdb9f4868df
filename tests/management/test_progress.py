"""What a terminal shows of a command's progress, and what a log file does not."""

from __future__ import annotations

import io

from django.core.management.base import OutputWrapper

from django_eventbus.management.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, *, verbosity: int = 1) -> str:
    progress = Progress(OutputWrapper(out), verbosity=verbosity)
    progress.show("sent 1")
    progress.clear()
    return out.getvalue()


def test_on_a_terminal_the_cursor_rests_where_a_log_line_covers_the_progress() -> None:
    assert shown(Terminal()) == "sent 1\x1b[K\r\x1b[K"


def test_elsewhere_and_with_verbosity_0_nothing_is_shown() -> None:
    assert shown(io.StringIO()) == ""
    assert shown(Terminal(), verbosity=0) == ""
