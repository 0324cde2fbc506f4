"""The import graph of the house, read from its files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.helpers import ROOT

HOUSES = ("nsx", "experiments", "benchmarks", "docs", "notebooks")


class Import(NamedTuple):
    """One import: which module does it, what it reaches, the name taken from there ("" for the module), the line.

    It is late where it stands in a function, and so is done only when that is called.
    """

    by: str
    of: str
    name: str
    line: int
    late: bool = False


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the house and its file."""
    files = [file for house in HOUSES for file in sorted((root / house).rglob("*.py"))]
    return {module_name(file.relative_to(root)): file for file in files}


def module_name(file: Path) -> str:
    """What a file is imported as."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str, known: Mapping[str, Path]) -> str:
    """The package that a module lies in: itself, where it is one."""
    return module if known[module].name == "__init__.py" else module.rpartition(".")[0]


def statements(node: ast.AST, late: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, but for what only a type checker reads, and whether it stands in a function."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield child, inside
            yield from statements(child, inside)


def imports(known: Mapping[str, Path]) -> Iterator[Import]:
    """Every import of a module of the house by another."""
    for module, file in known.items():
        for node, late in statements(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = package_of(module, known).split(".")
                    base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
                found = [(base, alias.name) for alias in node.names]
            else:
                continue
            for base, name in found:
                whole = f"{base}.{name}"
                if whole in known:
                    yield Import(module, whole, "", node.lineno, late)
                elif base in known and base != module:
                    yield Import(module, base, name, node.lineno, late)


def circles(arrows: set[tuple[str, str]]) -> list[set[str]]:
    """Sets of two or more that reach each other, or one that reaches itself."""
    after: dict[str, set[str]] = {}
    for tail, head in arrows:
        after.setdefault(tail, set()).add(head)

    def reached(start: str) -> set[str]:
        """All that can be reached by one arrow or more."""
        found: set[str] = set()
        waiting = list(after.get(start, ()))
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += after.get(place, ())
        return found

    reach = {place: reached(place) for place in after}
    on_one = {place for place in reach if place in reach[place]}
    return [set(circle) for circle in {frozenset(p for p in reach[x] if x in reach.get(p, ())) for x in on_one}]
