"""How is a small library of ours put between a process and libc, to be steered from outside by a file?"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent


def cannot_compile() -> str:
    if not sys.platform.startswith("linux"):
        return "a library is put before libc's on Linux only"
    return "" if shutil.which("cc") else "no C compiler"


def shim(name: str, folder: Path, *, variable: str) -> tuple[Path, dict[str, str]]:
    """Compile a library; return the file that steers it, and the environment of a process that is to be steered."""
    library, dial = folder / f"{name}.so", folder / name
    source = SOURCES / f"{name}.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    turn(dial, 0)
    return dial, {"LD_PRELOAD": str(library), variable: str(dial)}


def turn(dial: Path, value: int) -> None:
    """Set the number that the library reads; never is the file empty."""
    fresh = dial.with_suffix(".new")
    fresh.write_text(str(value))
    fresh.replace(dial)
