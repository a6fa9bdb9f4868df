from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted(path.relative_to(ROOT).as_posix() for path in Path(__file__).parent.glob("*_cases.py"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("cases", CASES)
def test_mypy_finds_exactly_the_expected_errors_without_a_plugin(cases: str, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nfollow_imports = silent\nexplicit_package_bases = true\nignore_missing_imports = true\n"
    )

    done = run("mypy", "--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache"), cases)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("cases", CASES)
def test_pyright_finds_exactly_the_expected_errors(cases: str, tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    copy = tmp_path / Path(cases).name
    copy.write_text((ROOT / cases).read_text())
    config = {
        "include": [copy.name],  # pyright ignores absolute paths here, and then finds nothing to complain of
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))

    done = run("pyright", "--pythonpath", sys.executable, "--project", str(tmp_path))

    assert done.returncode == 0, done.stdout
