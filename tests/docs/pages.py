"""What stands on a page: tables, directives, code blocks, and code in the middle of a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
ROW = re.compile(r"^\|(.*)\|$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of README, changelog or documentation."""

    name: str  # path below the root of the repository
    text: str

    def blocks(self, *languages: str) -> Iterator[str]:
        """Yield the code blocks in one of these languages; all, with directives, where none is named."""
        for found in BLOCK.finditer(self.text):
            language = found["info"].replace("{code-block}", "").strip()
            if not languages or language in languages:
                yield found["body"]

    def inline(self) -> Iterator[str]:
        """Yield what stands between single backticks, on one line each."""
        for found in INLINE.findall(BLOCK.sub("", self.text)):
            yield " ".join(found.split())

    def commands(self) -> Iterator[str]:
        """Yield whatever may be a line that someone types, or a service manager starts."""
        for block in self.blocks("console", "bash", "text", "ini", "yaml"):
            yield from block.replace("\\\n", " ").splitlines()
        yield from self.inline()

    def column(self, head: str) -> set[str]:
        """Collect the code in the first cells of the tables with this head; cells without code as they are."""
        found: set[str] = set()
        for table in re.findall(r"(?:^\|.*\|\n)+", self.text + "\n", re.MULTILINE):
            first, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
            if first[0] == head:
                found.update(name for row in rows for name in INLINE.findall(row[0]) or [row[0]])
        return found

    def sentence(self, beginning: str) -> set[str]:
        """Collect the code in the sentence that begins so."""
        rest = " ".join(self.text.split()).partition(beginning)[2]
        return set(INLINE.findall(re.split(r"\.(?= |$)", rest)[0]))

    def directives(self, name: str) -> set[str]:
        """Collect the arguments of a directive."""
        return set(re.findall(rf"(?:\{{{name}\}}|\.\. {name}::) (\S+)", self.text))


def page(name: str) -> Page:
    return Page(name=name, text=(ROOT / name).read_text())


def pages() -> list[Page]:
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
    return [page(path.relative_to(ROOT).as_posix()) for path in paths]
