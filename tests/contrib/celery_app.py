from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

app = Celery("tests", broker="filesystem://")


def use_folder(folder: Path) -> None:
    """Let tasks travel as files in a folder: what one process sends, another one receives."""
    (folder / "control").mkdir(parents=True, exist_ok=True)
    (folder / "queue").mkdir(exist_ok=True)
    app.conf.update(
        broker_transport_options={
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
        },
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )


if folder := os.environ.get("TESTS_CELERY_FOLDER"):
    use_folder(Path(folder))
