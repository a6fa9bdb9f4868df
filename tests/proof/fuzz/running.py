"""How are records made, sent, consumed by a process of the product, and judged?"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic, Producer

from tests.proof.fuzz.judging import Judge, Verdict
from tests.proof.fuzz.mutating import draw
from tests.proof.fuzz.reading import look

ROOT = Path(__file__).resolve().parents[3]
PARTITIONS = 5
TABLE = """
CREATE TABLE fuzz_effect (handler text, no int, position bigint, source text, message_id text, digest uuid)
"""
DONE = "SELECT coalesce(sum(low_water), 0) FROM eventbus_partition WHERE topic = %s"
REPEATED = """
SELECT count(*) FROM (SELECT 1 FROM fuzz_effect GROUP BY handler, source, message_id HAVING count(*) > 1) AS twice
"""
ELSEWHERE = """
SELECT (SELECT count(*) FROM fuzz_effect WHERE handler = %(handler)s AND source = %(source)s AND message_id = %(id)s)
    + (SELECT count(*) FROM eventbus_dead_letter
       WHERE handler <> '' AND handler = %(handler)s AND source = %(source)s AND message_id = %(id)s)
"""
STALLED = 90.0  # seconds without progress after which the consumer hangs
FOREVER = str(2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a run takes place, and what it is about."""

    url: str  # of an empty database
    broker: str
    topic: str
    folder: Path
    records: int
    seed: int
    keeps_unknown: bool = False
    bug: str = ""
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def odd_lines(self) -> Path:
        return self.folder / "odd-lines"

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.proof.fuzz.settings",
            "FUZZ_POSTGRES": self.url,
            "FUZZ_BROKER": self.broker,
            "FUZZ_TOPIC": self.topic,
            "FUZZ_UNKNOWN": "dead_letter" if self.keeps_unknown else "skip",
            "FUZZ_ODD_LINES": str(self.odd_lines),
            "FUZZ_BUG": self.bug,
            "PYTHONPATH": str(ROOT),
        }

    def django(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "django", *arguments], cwd=ROOT, env=self.environment(), **options
        )

    def ask(self, statement: str, *values: object) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement, values or None).fetchone()
            return row[0] if row else None


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    produced: int
    verdict: Verdict
    exit_code: int | None
    odd_lines: list[str]
    counts: dict[str, Any]  # what the command itself reports
    seconds: dict[str, float]
    consumer_mb: int  # most memory that the consumer had

    @property
    def is_clean(self) -> bool:
        return not self.verdict.wrong


def run_fuzz(stage: Stage) -> Report:
    """Send mutated records through one consumer that is never restarted, and judge what it made of each of them."""
    clock = {"began": time.monotonic()}
    prepare(stage)
    output = stage.folder / "output"
    with output.open("wb") as stream:
        consumer = stage.django("consume_events", "--json", stdout=stream, stderr=subprocess.STDOUT)
        try:
            produced = produce(stage)
            clock["produced"] = time.monotonic()
            trouble = wait_until_done(stage, consumer, produced)
            memory = most_memory(consumer.pid)
            consumer.send_signal(signal.SIGTERM)
            exit_code = consumer.wait(60)
        finally:
            consumer.kill()
            consumer.wait()
    clock["consumed"] = time.monotonic()
    verdict = judge_all(stage, produced)
    clock["judged"] = time.monotonic()
    odd = stage.odd_lines.read_text().splitlines() if stage.odd_lines.exists() else []
    trouble += miscounted(stage, verdict, counts := last_json(output))
    if exit_code:
        trouble.append(f"the consumer ended with {exit_code}: {output.read_text(errors='replace')[-2000:]}")
    verdict.blame([*trouble, *map("logged: {}".format, odd)])
    moments = list(clock.items())
    return Report(
        seed=stage.seed,
        produced=produced,
        verdict=verdict,
        exit_code=exit_code,
        odd_lines=odd[:20],
        counts=counts,
        seconds={name: round(at - before, 1) for (_, before), (name, at) in pairwise(moments)},
        consumer_mb=memory,
    )


def prepare(stage: Stage) -> None:
    if stage.django("migrate", "--verbosity", "0").wait(120):
        raise RuntimeError("the database could not be prepared")
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute(TABLE)
    # Whatever time a producer claims: brokers before 3.6 took any, and a topic can be told to.
    config = {"message.timestamp.after.max.ms": FOREVER, "message.timestamp.before.max.ms": FOREVER}
    new = NewTopic(stage.topic, PARTITIONS, 1, config=config)
    admin = AdminClient({"bootstrap.servers": stage.broker})
    admin.create_topics([new])[stage.topic].result(30)


def produce(stage: Stage) -> int:
    """Send the records; return how many the broker took, which has to be all of them."""
    refused: list[str] = []
    taken = 0

    def note(error: object, message: object) -> None:
        nonlocal taken
        if error is None:
            taken += 1
        else:
            refused.append(str(error))

    config = {"bootstrap.servers": stage.broker, "linger.ms": 20, "compression.type": "lz4", "log_level": 2}
    producer = Producer({**config, "partitioner": "murmur2_random", "queue.buffering.max.kbytes": 65536})
    for number in range(stage.records):
        draft = draw(number, seed=stage.seed)
        headers: Any = draft.headers
        while True:
            try:
                producer.produce(
                    stage.topic,
                    draft.value,
                    draft.key,
                    headers=headers,
                    timestamp=draft.timestamp,
                    on_delivery=note,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        if number % 50_000 == 49_999:
            stage.say(f"sent {number + 1}, handled {stage.ask(DONE, stage.topic)}")
    producer.flush(120)
    if refused or taken != stage.records:
        raise RuntimeError(f"the broker refused {len(refused)} of {stage.records} records: {Counter(refused)}")
    return taken


def wait_until_done(stage: Stage, consumer: subprocess.Popen[bytes], produced: int) -> list[str]:
    """Wait until every record is behind the group and no retry waits; return what went wrong instead."""
    done, moved_at, told_at = -1, time.monotonic(), time.monotonic()
    while True:
        if consumer.poll() is not None:
            return [f"the consumer ended by itself with {consumer.returncode}"]
        now_done = int(stage.ask(DONE, stage.topic))
        if now_done >= produced and not stage.ask("SELECT count(*) FROM eventbus_retry"):
            return []
        if now_done != done:
            done, moved_at = now_done, time.monotonic()
        if time.monotonic() - moved_at > STALLED:
            return [f"the consumer hangs: {done} of {produced} records are done"]
        if time.monotonic() - told_at > 10:
            told_at = time.monotonic()
            stage.say(f"handled {done} of {produced}")
        time.sleep(0.1)


def judge_all(stage: Stage, produced: int) -> Verdict:
    """Judge every record of the log."""
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute("CREATE INDEX ON fuzz_effect (message_id)")
        connection.execute("CREATE INDEX ON eventbus_dead_letter (message_id) WHERE handler <> ''")

        def elsewhere(handler: str, source: str, message_id: str) -> int:
            row = connection.execute(ELSEWHERE, {"handler": handler, "source": source, "id": message_id}).fetchone()
            return int(row[0]) if row else 0

        strays = Counter[str]()
        judge = Judge(keeps_unknown=stage.keeps_unknown, elsewhere=elsewhere)
        for found in look(stage.url, stage.broker, stage.topic, partitions=PARTITIONS, strays=strays):
            judge.take(found)
            if judge.verdict.records % 100_000 == 0:
                stage.say(f"judged {judge.verdict.records}, {judge.verdict.wrong} wrong")
    verdict = judge.verdict
    accounted = verdict.handled + verdict.skipped + verdict.dead + verdict.repeated
    if verdict.records != produced or accounted != produced:
        verdict.find(f"{produced} records were sent, {verdict.records} are in the log, {accounted} accounted for")
    if strays.total():
        verdict.find(f"rows that belong to no record: {dict(strays)}")
    if twice := stage.ask(REPEATED):
        verdict.find(f"{twice} effects are there twice")
    return verdict


def miscounted(stage: Stage, verdict: Verdict, counts: dict[str, Any]) -> list[str]:
    """Compare what the command says of itself with what is there."""
    there = {
        "messages": verdict.records,
        "skipped": verdict.skipped,
        "dead_lettered": stage.ask("SELECT count(*) FROM eventbus_dead_letter"),
        "handled": stage.ask("SELECT count(*) FROM fuzz_effect"),
    }
    doubt = {"skipped": verdict.unclear}
    return [
        f"the command counts {counts.get(name)} {name}, there are {count}"
        for name, count in there.items()
        if not count - doubt.get(name, 0) <= counts.get(name, -1) <= count
    ]


def most_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def last_json(output: Path) -> dict[str, Any]:
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def told(report: Report) -> dict[str, Any]:
    return {**asdict(report), "is_clean": report.is_clean}


def any_seed() -> int:
    return random.randrange(10**6)
