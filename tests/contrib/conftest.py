"""What the tests with Celery share: a queue of files, and real workers that read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contrib.celery_app import use_folder
from tests.contrib.workers import Workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of a module: Celery keeps the connection that it opened first."""
    folder = tmp_path_factory.mktemp("tasks")
    use_folder(folder)
    return folder


@pytest.fixture
def queue(folder: Path) -> Path:
    """The folder of tasks, empty, and without the marks of processes that died."""
    for file in (*(folder / "queue").iterdir(), *folder.glob("died-*")):
        file.unlink()
    return folder


@pytest.fixture
def workers(queue: Path) -> Iterator[Workers]:
    """Start Celery's workers; those that live are stopped at the end."""
    workers = Workers(queue)
    yield workers
    workers.stop()
