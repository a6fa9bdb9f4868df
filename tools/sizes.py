"""Report how large modules and functions are; fail where one has outgrown its question."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODULE_LIMIT = 400
FUNCTION_LIMIT = 40
EXEMPT = "migrations"  # generated


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    path: Path
    lines: int
    code: int  # lines that hold code
    comments: int  # lines that hold a comment
    functions: tuple[tuple[str, int], ...]  # name and lines, decorators and docstring left out


def measure(path: Path) -> Module:
    text = path.read_text()
    commented = {token.start[0] for token in tokens(text) if token.type == tokenize.COMMENT}
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code = {
        line for token in tokens(text) if token.type not in skipped for line in range(token.start[0], token.end[0] + 1)
    }
    return Module(
        path=path,
        lines=len(text.splitlines()),
        code=len(code),
        comments=len(commented),
        functions=tuple(functions(ast.parse(text))),
    )


def tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(text).readline)


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            documented = ast.get_docstring(node) is not None and len(body) > 1
            docstring = (body[0].end_lineno or 0) - body[0].lineno + 1 if documented else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def report(modules: list[Module]) -> int:
    largest = sorted(modules, key=lambda module: module.lines, reverse=True)[:5]
    lengths = sorted(((size, name, module.path) for module in modules for name, size in module.functions), reverse=True)
    for module in largest:
        print(f"{module.lines:5} lines  {module.path}")
    for size, name, path in lengths[:5]:
        print(f"{size:5} lines  {path}: {name}()")
    lines, comments = sum(module.code for module in modules), sum(module.comments for module in modules)
    print(
        f"{len(modules)} modules, {sum(module.lines for module in modules)} lines, {len(lengths)} functions, ", end=""
    )
    print(f"comments on {comments / max(lines, 1):.1%} of {lines} lines of code")
    too_long = [
        f"{module.path}: {module.lines} lines, limit {MODULE_LIMIT}"
        for module in modules
        if module.lines > MODULE_LIMIT
    ]
    too_long += [
        f"{path}: {name}() has {size} lines, limit {FUNCTION_LIMIT}"
        for size, name, path in lengths
        if size > FUNCTION_LIMIT
    ]
    for line in too_long:
        print(f"error: {line}")
    return 1 if too_long else 0


def main(roots: list[str]) -> int:
    paths = sorted(path for root in roots for path in Path(root).rglob("*.py") if EXEMPT not in path.parts)
    if not paths:
        print(f"error: no modules below {', '.join(roots)}")
        return 2
    return report([measure(path) for path in paths])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
