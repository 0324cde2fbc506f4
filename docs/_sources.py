"""The list of sources, from references.bib."""

from __future__ import annotations

import html
import re

from docs import ROOT

ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", flags=re.M | re.S)
FIELD = re.compile(r"^\s*(\w+)\s*=\s*[{\"](.*)[}\"],?\s*$", flags=re.M)
ACCENT = re.compile(r"\\([\"'`^~cv=.Hu])\s*\{?\\?([A-Za-z])\}?")
MARKS = {
    '"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "c": "\u0327", "v": "\u030c",
    "=": "\u0304", ".": "\u0307", "H": "\u030b", "u": "\u0306",
}  # fmt: skip


def entries() -> dict[str, dict[str, str]]:
    """Fields by key."""
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    return {key: {name: plain(value) for name, value in FIELD.findall(body)} for _, key, body in ENTRY.findall(text)}


def plain(value: str) -> str:
    """A field without the marks of BibTeX."""
    value = ACCENT.sub(lambda m: m[2] + MARKS[m[1]], value)
    return re.sub(r"[{}]", "", value).replace("--", "–").replace("\\&", "&").replace("~", " ").replace("\\", "")


def short(key: str, fields: dict[str, str]) -> str:
    """Authors and year, for a link."""
    people = [person.split(",")[0].strip() for person in fields.get("author", fields.get("editor", key)).split(" and ")]
    names = (
        people[0] if len(people) == 1 else f"{people[0]} & {people[1]}" if len(people) == 2 else f"{people[0]} et al."
    )
    return f"{names} {fields.get('year', '')}".strip()


def citation(fields: dict[str, str]) -> str:
    """One entry in HTML."""
    who = fields.get("author", fields.get("editor", "")).replace(" and ", "; ")
    where = next((fields[f] for f in ("journal", "booktitle", "publisher", "howpublished", "note") if f in fields), "")
    volume = f" {fields['volume']}" if "volume" in fields else ""
    pages = f", {fields['pages']}" if "pages" in fields else ""
    head = html.escape(f"{who} ({fields.get('year', '')}). ")
    return f"{head}<cite>{html.escape(fields.get('title', ''))}</cite>. {html.escape(f'{where}{volume}{pages}.')}"


def page() -> str:
    """Markdown of the list, an anchor for each key."""
    rows = sorted(entries().items(), key=lambda item: short(*item).lower())
    items = "\n".join(f'<p class="source" id="{key}">{citation(fields)} <code>{key}</code></p>' for key, fields in rows)
    return f"# Sources\n\nThe works that docstrings and claims cite, by their keys in `references.bib`.\n\n{items}\n"
