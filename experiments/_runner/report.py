"""`paper_repro.md`: a report that one reads from the top; every number in it comes from the committed results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from experiments._runner.page import SIGN, Check, Page, allowed_share, cell, number, plain

TITLES = {
    "words": "Word embeddings",
    "contrast": "Principles: contrast, temperature, proposals",
    "domains": "Applications and other fields",
    "frontiers": "Frontiers: adversaries, indexes, energies, curved space",
    "published": "Published tables, computed again",
}
# the claims that say most in one figure; their findings open the report
FINDINGS = (
    "attraction_alone",
    "noise_exponent",
    "effective_margin",
    "temperature_limits",
    "accidental_hits",
    "negatives_freeze",
    "ann_bias",
    "collapse_hysteresis",
    "mutual_information_ceiling",
    "poincare_mammals",
)
OPENING = """# What negative sampling does: every claim, predicted and measured

Four textbook chapters say what negative sampling does to what a model learns, and papers add tables. Each claim is an
experiment here that could have come out otherwise: a prediction that shares no code with what is measured, a margin
with its reason, and wrong mechanisms under which the checks must fail. This file is written by
`python -m experiments report` from the committed results.

**How to read it.** A claim is *supported* where all holds, *refuted* where its theory or every sentence of its chapter
fails, and *conditional* where the theory holds and some sentence of the chapter does not, or only under conditions.
*Theory* checks are the precise prediction and hold throughout. *Chapter* checks test a sentence as its author would
defend it. A check shown *weak* could not have told the prediction from one 20 % off, and supports nothing. In every
figure theory is black and dashed, and what was measured has colour and markers. Unless said, runs have full size,
seed 0, float64, on a CPU. [NOTATION.md](NOTATION.md) says what the symbols mean and which chapter is which."""


def compose(pages: Mapping[str, Sequence[Page]]) -> str:
    """The report: totals, findings, a table per chapter, the chapters' sentences, a page per claim."""
    everything = [page for group in pages.values() for page in group]
    lines = [OPENING, "", *totals(everything), "", "## Ten findings", *findings(everything)]
    for group, members in pages.items():
        if members:
            lines += [f"## {TITLES[group]}", "", *rows(members), ""]
    lines += ["## The chapters' sentences", "", *sentences(everything), "", "## The claims one by one", ""]
    for page in everything:
        lines += [*section(page), ""]
    return "\n".join(lines).rstrip() + "\n"


def totals(pages: Sequence[Page]) -> Iterator[str]:
    """How many claims and checks there are, and how they came out."""
    verdicts = Counter(page.verdict for page in pages)
    told = ", ".join(f"{verdicts[v]} {v}" for v in ("supported", "conditional", "refuted", "undecided") if verdicts[v])
    theory = [check for page in pages for check in page.theory]
    chapter = [check for page in pages for check in page.chapter]
    identities = sum(page.identities for page in pages)
    yield f"**Totals.** {len(pages)} claims: {told}."
    yield f"Theory: {count(theory)} checks hold, and {identities} identities to rounding."
    yield f"Sentences of the chapters: {count(chapter)} checks hold."


def count(checks: Sequence[Check]) -> str:
    """How many of the checks hold."""
    return f"{sum(check['passed'] for check in checks)} of {len(checks)}"


def findings(pages: Sequence[Page]) -> Iterator[str]:
    """The claims that say most, each with its figure and what came out."""
    known = {page.slug: page for page in pages}
    for page in (known[slug] for slug in FINDINGS if slug in known):
        found = first_sentence(page.finding) or "It holds as stated."
        yield f"\n**{plain(page.statement)}** {plain(found)} ([more](#{page.slug}))\n"
        yield f'<a href="#{page.slug}"><img src="figures/{page.slug}.png" alt="{page.slug}" width="420"></a>'
    yield ""


def rows(pages: Sequence[Page]) -> Iterator[str]:
    """A row per claim: verdict, and the first sentence of the finding, or the statement where all of it holds."""
    yield "| claim | verdict | what came out |"
    yield "|---|---|---|"
    for page in pages:
        found = first_sentence(page.finding) or page.statement
        yield f"| [{page.slug}](#{page.slug}) | {page.verdict} | {cell(found)} |"


def first_sentence(text: str) -> str:
    """What a row has room for; the page has the rest."""
    return text.partition(". ")[0].rstrip(".") + "." if text else ""


def sentences(pages: Sequence[Page]) -> Iterator[str]:
    """What the chapters say, sentence by sentence, and which claim judges it."""
    yield "Paraphrased, with their modal words kept. Claims of the older form judge theirs as a whole, above."
    yield ""
    yield "| chapter | what it says | verdict | claim |"
    yield "|---|---|---|---|"
    for page in pages:
        for sentence, verdict in page.sentences:
            told = f"excused: {cell(sentence.excused)}" if sentence.excused else verdict
            place = f"{sentence.chapter}, {sentence.where}"
            yield f"| {cell(place)} | {cell(sentence.says)} | {told} | [{page.slug}](#{page.slug}) |"


def section(page: Page) -> Iterator[str]:
    """The page of one claim."""
    yield f"### {page.slug}\n"
    yield f"{plain(page.statement)}\n"
    yield f"**{page.verdict}**{f': {plain(page.finding)}' if page.finding else ''}\n"
    yield from (f"- {told}" for told in map(sentence_line, page.sentences))
    if page.sentences:
        yield ""
    if page.text:
        yield f"{page.text}\n"
    yield f"![{page.slug}](figures/{page.slug}.png)\n"
    if page.captions:
        yield " ".join(f"**({letter})** {plain(caption)}" for letter, caption in page.captions.items()) + "\n"
    yield from folded("Sentences of the chapter", page.chapter)
    yield from folded("Theory", page.theory)
    yield from folded("Beyond the chapter", page.beyond)
    yield last_line(page)


def sentence_line(judged: tuple) -> str:
    """A sentence and its verdict."""
    return f"*{plain(judged.sentence.says)}* {judged.verdict}."


def folded(title: str, checks: Sequence[Check]) -> Iterator[str]:
    """A table of checks, folded away under how many of them hold."""
    if not checks:
        return
    yield f"<details><summary>{title}: {count(checks)} hold</summary>\n"
    yield "| check | predicted | measured | of allowed | |"
    yield "|---|---|---|---|---|"
    for check in checks:
        outcome = "weak" if check.get("weak") else "" if check["passed"] else "**fails**"
        numbers = f"{SIGN[check['relation']]} {number(check['predicted'])} | {number(check['measured'])}"
        yield f"| {cell(check['name'])} | {numbers} | {allowed_share(check)} | {outcome} |"
    yield "\n</details>\n"


def last_line(page: Page) -> str:
    """Controls, sources, code and how it was run."""
    told = []
    if page.identities:
        told.append(f"{page.identities} more hold to rounding.")
    size = len(page.chapter) + len(page.theory) + len(page.beyond) + page.identities
    known = [f"{plain(c.wrong)} ({c.overturned} of {size})" for c in page.controls if c.overturned is not None]
    if known:
        told.append(f"Overturned by: {'; '.join(known)}.")
    else:
        told.append(f"{len(page.controls)} controls.")
    keys = ", ".join(f"`{key}`" for key in page.references)
    told.append("; ".join(filter(None, (f"[Code]({page.file.as_posix()})", keys, plain(page.run)))) + ".")
    return " ".join(told)
