"""Docstrings as the reference shows them: examples as code, sources as links."""

from __future__ import annotations

import re
from typing import Any

import griffe

SOURCES = re.compile(r"^References:\n((?:[ \t]+.*\n?)+)", flags=re.M)
RETURNED = re.compile(r"^(Returns:\n)((?:[ \t]+.*\n?|\n)+)", flags=re.M)
COLON = re.compile(r":(?=[^`]*(?:`[^`]*`[^`]*)*$)")  # outside code: griffe takes what precedes one for a type
DISPLAYED = re.compile(r"^(\$\$.+?\$\$)[ \t]*\n?", flags=re.M | re.S)  # a paragraph of its own
CITED = re.compile(r"\[([a-z]+\d{4}[a-z0-9]*)((?:,[^\]]*)?)\]")


def rewritten(text: str) -> str:
    """`Example:` as the section that holds code, `References:` as a line of links into the list of sources."""
    text = DISPLAYED.sub(r"\1\n\n", text)
    text = RETURNED.sub(lambda m: m[1] + COLON.sub("&#58;", m[2]), text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
    return SOURCES.sub(lambda m: f"**Sources:** {linked(' '.join(m[1].split()))}\n", text)


def linked(text: str) -> str:
    """[key, eq. 4] as a link; pages of the reference lie one folder down."""
    return CITED.sub(r"[\1\2](../sources.md#\1)", text)


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called once an object and its members are there."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)
