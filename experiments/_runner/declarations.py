"""What a claim says of itself: the statement, the chapter's sentences that it tests, what came out."""

from __future__ import annotations

import ast
from typing import Any, Literal, NamedTuple

Chapter = Literal["principles", "word embeddings", "applications", "across fields"]
Verdict = Literal["supported", "conditional", "refuted", "undecided"]


class Sentence(NamedTuple):
    """One sentence of a chapter, paraphrased with its modal words ("can", "approximately", "relatively") kept.

    Attributes:
        chapter: the chapter's name; NOTATION.md says what each covers.
        where: the section, in a few words.
        says: what the sentence says.
        excused: why no experiment can judge it; then no check is tied to it.
    """

    chapter: Chapter
    where: str
    says: str
    excused: str = ""


class Claim(NamedTuple):
    """One statement, written with literals only, so that listing needs no import of the claim.

    Attributes:
        statement: the claim in one sentence.
        sentences: of the chapters; empty for a claim from elsewhere.
        finding: what came out, in one sentence, also where all holds.
        references: keys of references.bib. A claim without sentences cites its paper, or is nsx's own.
        own: True for an extension that no chapter and no paper states.
        expected: the verdict that a run must find; another one fails the run, whichever it is.
    """

    statement: str
    sentences: tuple[Sentence, ...] = ()
    finding: str = ""
    references: tuple[str, ...] = ()
    own: bool = False
    expected: Verdict = "supported"


def described(call: ast.Call) -> Claim:
    """A CLAIM of the new form from its syntax: literals, and Sentence(...) of literals."""

    def value(node: ast.expr) -> Any:
        """A literal, or a tuple of sentences."""
        if isinstance(node, ast.Tuple) and any(isinstance(part, ast.Call) for part in node.elts):
            return tuple(Sentence(**{k.arg: ast.literal_eval(k.value) for k in part.keywords}) for part in node.elts)
        return ast.literal_eval(node)

    return Claim(**{keyword.arg: value(keyword.value) for keyword in call.keywords})
