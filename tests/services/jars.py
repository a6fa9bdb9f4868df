"""Where Kafka's jars come from: a cache of the user's, filled once through Maven."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.run import ServiceMissing, locked, may_come_from

JAVA_MINIMUM = 17
VERSION = os.environ.get("EVENTBUS_TEST_KAFKA_VERSION", "4.1.1")
PROJECT = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>django-eventbus</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "django-eventbus" / f"kafka-{VERSION}"


def are_obtainable() -> bool:
    return may_come_from("kafka", "jars") and bool(java()) and (folder().exists() or shutil.which("mvn") is not None)


def missing() -> str:
    return f"no JDK {JAVA_MINIMUM}+ with Maven or with Kafka's jars in {folder()}"


@functools.cache
def java() -> str:
    """Find a Java that is new enough; empty when there is none."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home) / "bin" / "java"] if home else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    return next((str(path) for path in candidates if major_version(path) >= JAVA_MINIMUM), "")


def major_version(program: Path) -> int:
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r'version "(\d+)', answer)
    return int(found[1]) if found else 0


def fetched() -> Path:
    """Return the folder of jars; the first call on a machine fetches them (46 files, 43 MB)."""
    if not are_obtainable():
        raise ServiceMissing(missing())
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            fetch(target)
    return target


def fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        (Path(name) / "pom.xml").write_text(PROJECT.format(version=VERSION))
        subprocess.run(
            ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars", "-DincludeScope=runtime"],
            check=True,
            cwd=name,
            stdin=subprocess.DEVNULL,
        )
        (Path(name) / "jars").rename(target)
