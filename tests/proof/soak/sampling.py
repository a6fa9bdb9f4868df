"""What do the processes of a load hold at this moment, and how large are the tables?"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.proof.load.crews import Crew
from tests.proof.load.database import LoadDatabase
from tests.proof.load.sessions import ports_of

TABLES = ("eventbus_outbox", "eventbus_inbox", "eventbus_retry")
# Without the locks of the outbox's shards: all of them go from one relay to the other now and then.
SESSIONS = """
SELECT client_port, (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND locktype = 'advisory' AND granted
    AND classid <> 'eventbus_outbox'::regclass)
FROM pg_stat_activity a WHERE datname = current_database() AND client_port IS NOT NULL
"""
SIZES = """
SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_dead_tup, n_live_tup FROM pg_stat_user_tables
WHERE relname = ANY(%s)
"""
ROWS = "SELECT count(*) FROM eventbus_inbox"

Sample = dict[str, float]  # by what was measured, such as "relay-1 threads"


def take(crews: tuple[Crew, ...], database: LoadDatabase) -> Sample:
    """Measure everything once."""
    sample: Sample = {"at": time.monotonic()}
    with database.connect() as session:
        locks: dict[int, int] = dict(session.execute(SESSIONS).fetchall())
        for name, table, index, dead, live in session.execute(SIZES, [list(TABLES)]).fetchall():
            sample |= {f"{name} bytes": table, f"{name} index bytes": index, f"{name} dead": dead, f"{name} live": live}
        (rows,) = session.execute(ROWS).fetchone() or (0,)
    sample["eventbus_inbox rows"] = rows
    for crew in crews:
        for member in crew.members:
            own = ports_of(member.pid) & locks.keys()
            sample[f"{member.name} connections"] = len(own)
            sample[f"{member.name} advisory locks"] = sum(locks[port] for port in own)
            sample |= {f"{member.name} {what}": value for what, value in of_process(member.pid)}
    return sample


def of_process(pid: int) -> Iterator[tuple[str, float]]:
    """Tell memory, threads and open files of a process, as the kernel sees them; nothing where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kinds = Counter(map(kind_of, Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmRSS" not in status:
        return
    yield "memory", float(status["VmRSS"].split()[0]) * 1024
    yield "threads", float(status["Threads"])
    for kind in ("files", "sockets", "pipes", "others"):
        yield f"open {kind}", float(kinds[kind])


def kind_of(descriptor: Path) -> str:
    try:
        target = os.readlink(descriptor)
    except OSError:
        return "others"
    if target.startswith("/"):
        return "files"
    return {"socket": "sockets", "pipe": "pipes"}.get(target.partition(":")[0], "others")
