"""The gallery: every claim with its figure, verdict and measurements, and a page for each with its one file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from html import escape
from typing import Any

from docs import ROOT, _sources
from experiments import _claim, _report
from experiments._runner import page

VERDICTS = ("supported", "conditional", "refuted")
CHAPTERS = {
    "000": "000 · applications",
    "001": "001 · contrast",
    "002": "002 · words",
    "003": "003 · across fields",
    "published": "published results",
}


def chapters(claim: _claim.Claim) -> list[str]:
    """The chapters a claim comes from, or that it is a published result."""
    found = [chapter for chapter in CHAPTERS if re.search(rf"\b{chapter}\b", claim.source)]
    if not found:
        raise ValueError(f"the source {claim.source!r} names none of {', '.join(CHAPTERS)}.")
    return found


def results() -> dict[str, dict[str, Any]]:
    """Results by claim; a claim that was never run has none, and no place here until it is."""
    return _report.read_results()


def picture(slug: str, up: str = "") -> str:
    """The figure with its size, so that the page does not jump while pictures load."""
    head = (ROOT / "figures" / f"{slug}.png").read_bytes()[16:24]
    width, height = struct.unpack(">II", head)
    alt = f"Figure of {slug}: theory black and dashed, measurement in colour"
    return f'<img src="{up}figures/{slug}.png" alt="{alt}" width="{width}" height="{height}" loading="lazy">'


def checks(result: dict[str, Any]) -> Iterator[str]:
    """All checks as a table."""
    heads = ("check", "whose", "predicted", "measured", "margin", "holds")
    yield '<div class="scroll" tabindex="0" role="region" aria-label="checks"><table><thead><tr>'
    yield from (f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>"
    for c in result["checks"]:
        cells = (
            escape(c["name"]),
            escape(c["role"]),
            f"{page.SIGN[c['relation']]} {page.number(c['predicted'])}",
            page.number(c["measured"]),
            page.number(c["margin"]),
            "yes" if c["passed"] else "<strong>no</strong>",
        )
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div>"


def badge(verdict: str) -> str:
    """The verdict as a coloured word."""
    return f'<span class="verdict {escape(verdict)}">{escape(verdict)}</span>'


def card(slug: str, claim: _claim.Claim, result: dict[str, Any]) -> Iterator[str]:
    """A claim in the gallery."""
    shown, file = _report.headline(result), _claim.claims()[slug].relative_to(ROOT).as_posix()
    verdict = escape(result["verdict"])
    yield f'<article class="claim" data-chapters="{" ".join(chapters(claim))}" data-verdict="{verdict}">'
    yield f'<h2 id="{slug}"><a href="claims/{slug}.html">{slug.replace("_", " ")}</a></h2>'
    yield f"<p>{badge(result['verdict'])} <small>{escape(claim.source)}</small></p>"
    yield f'<a class="figure" href="claims/{slug}.html">{picture(slug)}</a>'
    yield f"<p>{escape(claim.statement)}</p>"
    yield f'<p class="numbers">{escape(shown["name"])}: predicted {page.SIGN[shown["relation"]]} '
    yield f"{page.number(shown['predicted'])}, measured {page.number(shown['measured'])}</p>"
    yield f"<details><summary>All {len(result['checks'])} checks</summary>{''.join(checks(result))}</details>"
    yield f'<p><a href="claims/{slug}.html#the-file"><code>{file}</code></a></p>'
    yield "</article>"


def group(name: str, legend: str, choices: dict[str, str]) -> Iterator[str]:
    """Radio buttons: one tab stop, arrows choose."""
    yield f"<fieldset><legend>{legend}</legend>"
    for value, label in {"all": "all", **choices}.items():
        checked = " checked" if value == "all" else ""
        yield f'<label><input type="radio" name="{name}" value="{value}"{checked}><span>{label}</span></label>'
    yield "</fieldset>"


def gallery() -> str:
    """Markdown of the gallery: the filter and the cards."""
    found, described = results(), _report.described()
    lines = [
        "---\nhide: [navigation, toc]\n---\n# The gallery of claims\n",
        "Every claim is an experiment that could have come out otherwise: a prediction, a measurement, and worlds in "
        "which it must fail. *Supported*: all holds. *Conditional*: the precise theory holds, the chapter's sentence "
        "taken at its word does not always. *Refuted*: it does not hold.\n",
    ]
    form = ['<form id="filter" aria-label="Filter the claims">']
    form += group("chapter", "Chapter", CHAPTERS)
    form += group("verdict", "Verdict", {v: v for v in VERDICTS})
    form.append(f'<output id="count" aria-live="polite">{len(found)} claims</output></form>')
    cards = "".join("".join(card(slug, described[slug], found[slug])) for slug in found)
    return "\n".join([*lines, "".join(form), "", f'<div class="gallery">{cards}</div>']) + "\n"


def world(name: str, told: list[str], verb: str) -> str:
    """A control, and the checks that it overturns (of a claim of the old form: fails)."""
    checks = "; ".join(told) or "nothing (a check that fails above holds here)"
    return f"<li><b>{escape(name)}</b>: {verb} {escape(checks)}</li>"


def reading(told: page.Page) -> list[str]:
    """Sentences of the chapters with their verdicts, prediction and measurement; empty for a claim of the old form."""
    lines = [f"<li><em>{escape(s.says)}</em> {badge(verdict)}</li>" for s, verdict in told.sentences]
    return [f"<ul>{''.join(lines)}</ul>\n" if lines else "", f"{told.text}\n" if told.text else ""]


def captions(told: page.Page) -> str:
    """The captions of the figure's panels."""
    return " ".join(f"<b>({letter})</b> {escape(caption)}" for letter, caption in told.captions.items())


def claim_page(slug: str, claim: _claim.Claim, result: dict[str, Any]) -> str:
    """Markdown of one claim: figure, numbers, controls, and the file that makes them."""
    file = _claim.claims()[slug]
    known = _sources.entries()
    cited = ", ".join(
        f'<a href="../sources.html#{k}">{escape(_sources.short(k, known[k]))}</a>' for k in claim.references
    )
    told = page.page_of(slug, result)
    verb = "overturns" if told.text else "fails"
    controls = "".join(world(name, names, verb) for name, names in result["controls"].items())
    size = ", ".join(f"{k} {v}" for k, v in result["size"].items() if k != "name")
    run = f"Size {result['size']['name']} ({size}), seed {result['seed']}, {result['dtype']}, {result['device']}."
    name = file.relative_to(ROOT).as_posix()
    parts = [
        f"# {slug.replace('_', ' ')}\n",
        f'<p class="statement">{escape(claim.statement)}</p>\n',
        f"<p>{badge(result['verdict'])} Source: {escape(claim.source)}{' · ' if cited else ''}{cited}</p>\n",
        f"<p>{escape(claim.why)}</p>\n",
        *reading(told),
        f'<a class="figure" href="../figures/{slug}.svg" aria-label="the figure as SVG">{picture(slug, "../")}</a>\n',
        f"<p>{captions(told)}</p>\n",
        "## Predicted against measured\n",
        "".join(checks(result)) + "\n",
        "*Theory* checks must hold; *chapter* checks take the chapter's sentence at its word.\n",
        f"## Worlds in which the claim is false\n\n<ul>{controls}</ul>\n",
        f"<p>{escape(run)} To run it again: <code>python -m experiments run {slug}</code></p>\n",
        "## The file {data-search-exclude}\n",
        f'``````{{.python title="{name}"}}\n{file.read_text(encoding="utf-8").rstrip()}\n``````\n',
    ]
    return "\n".join(parts)


def published() -> str:
    """Markdown of the published tables: each claim that recomputes one, in full."""
    found, described = results(), _report.described()
    lines = [
        "---\nhide: [navigation]\n---\n# Published tables\n",
        "Numbers that papers print, computed anew by nsx: *predicted* is what the paper has (or its formula gives), "
        "*measured* is what came out here.\n",
    ]
    for slug in found:
        claim = described[slug]
        if chapters(claim) == ["published"]:
            lines += [
                f"## {page.plain(claim.source.removeprefix('published: '))}\n",
                f"<p>{badge(found[slug]['verdict'])} {escape(claim.statement)} "
                f'<a href="claims/{slug}.html">All about it</a></p>\n',
                "".join(checks(found[slug])) + "\n",
                f'<a class="figure" href="claims/{slug}.html">{picture(slug)}</a>\n',
            ]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """Markdown by path in the site."""
    found, described = results(), _report.described()
    each = {f"claims/{slug}.md": claim_page(slug, described[slug], found[slug]) for slug in found}
    return {"gallery.md": gallery(), "published.md": published(), **each}


def figures() -> list[str]:
    """Paths of the pictures that these pages show, from the root of the repository."""
    return [f"figures/{slug}.{kind}" for slug in results() for kind in ("png", "svg")]
