"""What is wrong with this project's use of the event bus?"""

from __future__ import annotations

from typing import Any

CHECKS: tuple[Any, ...] = ()
DEPLOYMENT_CHECKS: tuple[Any, ...] = ()
