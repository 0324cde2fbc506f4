"""Pages that are files of the repository: their links, which point into the repository, made to point into the site."""

from __future__ import annotations

import re
from pathlib import Path

from docs import ROOT

PAGES = {
    "README.md": "index.md",
    "NOTATION.md": "notation.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "experiments/data/README.md": "data.md",
    **{f"docs/{f.name}": f.name for f in sorted((ROOT / "docs").glob("*.md"))},
}
ELSEWHERE = {"paper_repro.md": "gallery.md", "references.bib": "sources.md"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")
FORMULA = re.compile(r"\$[^$\n]+\$")
BLOCK = re.compile(r"(^```.*?^```)", flags=re.M | re.S)


def target(link: str, base: Path) -> str | None:
    """Where a link of a file in `base` leads in the site; None where the site does not hold it."""
    path, _, anchor = link.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return link
    name = (base / path).resolve().relative_to(ROOT).as_posix()
    if name == "paper_repro.md" and (ROOT / "figures" / f"{anchor}.json").exists():
        return f"claims/{anchor}.md"
    found = PAGES.get(name)
    return ELSEWHERE.get(name) or (f"{found}#{anchor}" if found and anchor else found)


def page(source: str) -> tuple[str, list[str]]:
    """Markdown of a file for the site, and the pictures it shows, as paths from the root."""
    return relinked((ROOT / source).read_text(encoding="utf-8"), (ROOT / source).parent)


def relinked(text: str, base: Path, up: str = "") -> tuple[str, list[str]]:
    """Markdown of a file in `base` with its links into the site, and the pictures it shows; `up` leads to the top."""
    pictures = []

    def inside(match: re.Match[str]) -> str:
        picture, text, link = match.groups()
        if picture and "://" not in link:
            name = (base / link).resolve().relative_to(ROOT).as_posix()
            pictures.append(name)
            return f"![{text}]({up}{name})"
        found = target(link, base)
        text = LINK.sub(inside, text)
        return f"[{text}]({found if found == link else up + found})" if found else text

    blocks = BLOCK.split(text)
    return "".join(b if b.startswith("```") else LINK.sub(inside, barred(b)) for b in blocks), pictures


def barred(text: str) -> str:
    """Text whose formulas hold no bar, which would end the cell of a table."""
    return FORMULA.sub(lambda m: m[0].replace("|", r"\vert "), text)
