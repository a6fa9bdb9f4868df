"""A thread that has nothing to do is still told when to end."""

from __future__ import annotations

from django_eventbus.consumer.crew import IDLE, Crew
from django_eventbus.consumer.reporting import Reporter
from django_eventbus.delivery.registry import groups_of
from tests.consumer.scene import Scene


def test_a_thread_whose_patience_ends_at_the_moment_of_the_stop_ends(scene: Scene) -> None:
    scene.handles("first")
    (group,) = groups_of(scene.config).values()
    crew = Crew(group, scene.config, threads=1, reporter=Reporter())
    changed = crew._changed
    wait = changed.wait

    def run_out(timeout: float | None = None) -> bool:
        if timeout != IDLE:
            return wait(timeout)
        changed.release()  # as a wait does, whose time is over, but which has not got its lock back yet
        crew._is_stopping.set()
        crew.wake()
        changed.acquire()
        return False

    changed.wait = run_out  # type: ignore[method-assign]
    crew.start()
    (thread,) = crew._threads

    thread.join(20)
    ended_by_itself = not thread.is_alive()
    crew.wake()  # whatever came of it, no thread outlives the test

    assert ended_by_itself
