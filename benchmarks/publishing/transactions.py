"""What does a publish add to a small ORM transaction?"""

from __future__ import annotations

from statistics import median

from benchmarks.bench import Bench, median_ratio, require
from benchmarks.report import Row

BLOCKS = 25


def run(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    with bench.child("publisher") as publisher, bench.connection() as connection:
        for events in (1, 10):
            blocks = BLOCKS * bench.rounds // (1 if events == 1 else 2)
            times = publisher.ask("compare", events=events, blocks=blocks)
            found = connection.execute("SELECT count(*) FROM eventbus_outbox").fetchone()
            require((2 * events * (blocks + 2) * 20,), found, "rows in the outbox")
            connection.execute("TRUNCATE eventbus_outbox, shop_order")
            ratio = median_ratio(times["ours"], times["bare"])
            bare = median_ratio(times["bare"], times["nothing"])
            ours = median_ratio(times["ours"], times["nothing"])
            plural = "" if events == 1 else "s"
            rows.append(
                Row(
                    what=f"transaction that publishes {events} event{plural} / with a bare INSERT",
                    ours=f"{median(times['ours']) * 1e3:.2f} ms ({ours:.2f}x one without)",
                    reference=f"{median(times['bare']) * 1e3:.2f} ms ({bare:.2f}x)",
                    ratio=ratio,
                    target="<= 1.10",
                    is_met=ratio <= 1.10,
                )
            )
    return rows
