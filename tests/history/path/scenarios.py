"""What has to happen, step by step, so that a known bug does harm?

Each scenario leads processes to the one moment that a bug needs, instead of minutes of chance, and returns what the
judge says. Without a bug he has to find nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.history.path.crews import IMPATIENT, Consumers
from tests.history.path.fates import dies, fails
from tests.history.path.judging import Verdict
from tests.history.path.scenes import Scene
from tests.history.path.tables import KEYS

WORDS = 4711  # advisory lock behind which an INSERT waits
GATE = f"""
CREATE FUNCTION path_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock_shared({WORDS}); RETURN NEW; END $$;
CREATE TRIGGER path_gate BEFORE INSERT ON eventbus_outbox FOR EACH ROW
    WHEN (NEW.key = '7'::bytea) EXECUTE FUNCTION path_gate()
"""
GRANTED_NOT = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
WRITTEN = 16  # events of eight keys
LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


def killed_with_an_offset_on_its_way(scene: Scene) -> Verdict:
    """Hang before the commit until the broker could have got an offset; die there."""
    write_some(scene)
    hanging = scene.start_consumer(
        CHAOS_AT="before commit", CHAOS_HOW="hang", CHAOS_ONCE=str(scene.path.notes / "once")
    )
    scene.wait((scene.path.notes / "once").exists, "nobody hangs")
    # Offsets that must not be there are awaited: of all records, since other threads may have done with some.
    ends_at = time.monotonic() + (60.0 if scene.has_bug else 1.0)
    while committed_offsets(scene.path) < WRITTEN and time.monotonic() < ends_at:
        time.sleep(0.1)
    hanging.kill()
    return handled_by_another(scene)


def killed_behind_its_commit(scene: Scene) -> Verdict:
    """Die when the effects are committed and nothing else is done."""
    write_some(scene)
    dying = scene.start_consumer(CHAOS_AT="after commit", CHAOS_ONCE=str(scene.path.notes / "once"))
    scene.wait(lambda: dying.poll() is not None, "nobody died")
    return handled_by_another(scene)


def frozen_in_a_retry(scene: Scene) -> Verdict:
    """Read what waits, freeze for longer than the session lasts, and go on when another has handled it."""
    key, number = next(
        (key, number) for number in range(1, 30) for key in range(KEYS) if fails_once("path.ordered", str(key), number)
    )
    scene.relays.start()
    scene.write(f"a step {key} {number}", "a commit")
    frozen = scene.start_consumer(
        CHAOS_AT="in retry unit", CHAOS_HOW="freeze", CHAOS_ONCE=str(scene.path.notes / "once")
    )
    scene.freeze_awaited(frozen)
    scene.start_consumer()
    query = f"SELECT count(*) FROM path_effect WHERE handler = 1 AND key = {key} AND number = {number}"
    scene.wait(lambda: scene.path.count(query), "no other took what waits")
    scene.let_end(frozen)
    scene.wait_until_handled(key)
    scene.wait(scene.path.is_done, "not all is handled")
    return scene.verdict()


def open_writer(scene: Scene) -> Verdict:
    """Hold an id back while later ones are sent, and publish again to its key once it is committed."""
    scene.relays.start()
    scene.write("late step 7 1")
    for _ in range(4):
        scene.write("early step 8 1", "early commit")
        scene.wait_until_sent()
    scene.write("late commit", "late step 7 1", "late commit")
    scene.wait_until_sent()
    return scene.verdict(of_handlers=False)


def slow_insert(scene: Scene) -> Verdict:
    """Hold an INSERT back between its id and its xid while later ids are sent; then publish again to its key."""
    scene.relays.start()
    scene.write("early step 8 2", "early commit")  # the first nextval would take an xid
    scene.wait_until_sent()
    scene.path.execute(GATE)
    with scene.connect() as gate:
        gate.execute("SELECT pg_advisory_lock(%s)", [WORDS])
        scene.tell("late publish 7 1")
        scene.wait(lambda: scene.path.count(GRANTED_NOT), "no INSERT waits")
        for _ in range(6):
            scene.write("early step 8 1", "early commit")
            scene.wait_until_sent()
    scene.hear("late")
    scene.write("late commit", "late step 7 1", "late commit")
    scene.wait_until_sent()
    return scene.verdict(of_handlers=False)


def two_relays(scene: Scene) -> Verdict:
    """Wake two relays at once, and harm nobody."""
    scene.relays.start()
    scene.relays.start()
    scene.wait(lambda: scene.path.count(LISTENING) >= 2, "no two relays listen")
    for _ in range(6):
        scene.write("a step 7 30", "a step 8 30", "a commit")
        scene.wait_until_sent()
    return scene.verdict(of_handlers=False)


SCENARIOS: dict[str, Callable[[Scene], Verdict]] = {
    "offset_before_commit": killed_with_an_offset_on_its_way,
    "inbox_after_handler": killed_behind_its_commit,
    "no_inbox": killed_behind_its_commit,
    "no_fence": frozen_in_a_retry,
    "floor_without_proof": open_writer,
    "floor_from_xmax": slow_insert,
    "no_lock": two_relays,
}


def play(name: str, *, url: str, broker: str, topic: str, folder: Path, bug: str = "") -> Verdict:
    """Play the scenario of a bug, with it or, to see that it is fair, without; needs an empty database."""
    path = Consumers(
        url=url,
        broker=broker,
        topic=topic,
        notes=folder,
        bug=bug,
        consumer={"GRACE": 1},
        session={"session.timeout.ms": 1500, "heartbeat.interval.ms": 300, "auto.commit.interval.ms": 200},
        outbox=dict(IMPATIENT) if name != "no_lock" else {},
    )
    with Scene(path=path) as scene:
        return SCENARIOS[name](scene)


def write_some(scene: Scene) -> None:
    scene.relays.start()
    scene.write(*(f"a step {key} {WRITTEN // 8}" for key in range(8)), "a commit")


def handled_by_another(scene: Scene) -> Verdict:
    """Let another consumer handle what there is, and something of each key that comes behind it."""
    scene.start_consumer()
    scene.write(*(f"a step {key} 1" for key in range(8)), "a commit")
    scene.wait_until_handled(*range(8))
    return scene.verdict()


def fails_once(handler: str, key: str, number: int) -> bool:
    return fails(handler, key, number, 1) and not fails(handler, key, number, 2) and not dies(handler, key, number)


def committed_offsets(path: Consumers) -> int:
    """Ask the broker how far the group has got."""
    from confluent_kafka.cimpl import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": path.broker, "group.id": f"group-{path.topic}"})
    places = [TopicPartition(f"{path.topic}.steps", number) for number in range(3)]
    offsets = [place.offset for place in consumer.committed(places, timeout=10)]
    consumer.close()
    return sum(offset for offset in offsets if offset > 0)
