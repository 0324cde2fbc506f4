"""The reference: a page for every public module, an entry for every symbol, and a check that none is missing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nsx


def modules() -> list[str]:
    """Every module a user may import: no part of its path begins with an underscore."""
    names = [m.name for m in pkgutil.walk_packages(nsx.__path__, "nsx.")]
    return sorted(n for n in names if not any(part.startswith("_") for part in n.split(".")))


def symbols(module: ModuleType) -> dict[str, Any]:
    """The functions and classes a module offers as its own, by name."""
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "").startswith(module.__name__)
    }


def page(name: str) -> str:
    """Markdown of a module's page: what it is for, its symbols at a glance, then one by one."""
    module = importlib.import_module(name)
    lines = [f"# {name}", "", inspect.getdoc(module) or "", "", "| name | what it is |", "|---|---|"]
    offered = symbols(module)
    for symbol, value in offered.items():
        first = (inspect.getdoc(value) or "").partition("\n")[0].replace("|", "\\|")
        lines.append(f"| [`{symbol}`](#{name}.{symbol}) | {first} |")
    for symbol, value in offered.items():
        lines += ["", *entry(f"{name}.{symbol}", value)]
    return "\n".join(lines) + "\n"


def entry(path: str, value: Any) -> Iterator[str]:
    """The directive of a symbol. Fields of a class have entries where its docstring does not list them itself."""
    yield f"::: {path}"
    if inspect.isclass(value):
        listed = "Attributes:" in (inspect.getdoc(value) or "")
        kinds = (staticmethod, classmethod, property)
        methods = [n for n, v in vars(value).items() if n[0] != "_" and (inspect.isfunction(v) or isinstance(v, kinds))]
        yield "    options:"
        yield f"      members: {(methods or 'false') if listed else 'true'}"
        yield f"      show_if_no_docstring: {str(not listed).lower()}"
        yield '      filters: ["!^_"]'


def overview() -> str:
    """Markdown of the page that lists the modules."""
    lines = ["# Reference", "", "| module | what it is for |", "|---|---|"]
    for name in modules():
        first = (inspect.getdoc(importlib.import_module(name)) or "").partition("\n")[0].replace("|", "\\|")
        lines.append(f"| [`{name}`]({name.removeprefix('nsx.')}.md) | {first} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Markdown by path in the site."""
    named = {f"reference/{name.removeprefix('nsx.')}.md": page(name) for name in modules()}
    return {"reference/index.md": overview(), **named}


def missing(site: Path) -> list[str]:
    """Public symbols that the built reference does not hold."""
    absent = []
    for name in modules():
        built = site / "reference" / f"{name.removeprefix('nsx.')}.html"
        text = built.read_text(encoding="utf-8") if built.exists() else ""
        offered = symbols(importlib.import_module(name))
        absent += [f"{name}.{symbol}" for symbol in offered if f'id="{name}.{symbol}"' not in text]
    return absent
