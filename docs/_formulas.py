"""LaTeX formulas to MathML when the site is built, so that a page needs no script and no outside host for them."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', flags=re.S)
CODE = re.compile(r"<(pre|code)\b.*?</\1>", flags=re.S)
# what the converter does not know, in words that it does
SPELLED = {
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\Vert": r"\|",
    r"\vert": "|",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\tfrac": r"\frac",
    r"\arg": r"\mathrm{arg}\,",
}
UPRIGHT = re.compile(r'(?:<mi mathvariant="normal">[A-Za-z]</mi>){2,}')  # letter by letter: one name
BAR = re.compile(r"<mo([^>]*)>(\||&#x0007C;|&#x02016;|&#x02225;)</mo>")  # of a norm: no space around it
# a function's name wants a space before its argument, unless that is in parentheses or the name has an index
FUNCTION = re.compile(r"(?<!sub>)(?<!sup>)(<mi>[A-Za-z]{2,}</mi>)(?!<mo[^>]*>(?:&#x00028;|\())")


def to_mathml(latex: str, *, block: bool) -> str:
    """One formula; a command that the converter leaves as it found it is an error, not a picture of its name."""
    for name, known in SPELLED.items():
        latex = re.sub(re.escape(name) + r"(?![A-Za-z])", lambda _, known=known: known, latex)
    latex = re.sub(r"\\operatorname\*?\{([A-Za-z ]+)\}", r"\\mathrm{\1}", latex)
    mathml = convert(latex, display="block" if block else "inline")
    mathml = UPRIGHT.sub(lambda m: f"<mi>{re.sub('<[^>]*>', '', m[0])}</mi>", mathml)
    mathml = BAR.sub(r'<mo lspace="0" rspace="0"\1>\2</mo>', mathml)
    mathml = FUNCTION.sub(r'\1<mspace width="0.167em"/>', mathml)
    mathml = re.sub(r">\\([{}])<", r">\1<", mathml)  # braces after \Bigl come out escaped
    if "\\" in re.sub(r"<[^>]*>", "", mathml).replace("∖", ""):
        raise ValueError(f"the formula {latex!r} holds a command that cannot be shown: {mathml}")
    return mathml


def render(page: str) -> str:
    """A page's HTML with its formulas as MathML; one that was not recognised is an error."""

    def replace(match: re.Match[str]) -> str:
        block = match[1] == "div"
        mathml = to_mathml(html.unescape(match[2]).strip(), block=block)
        return f'<div class="formula" tabindex="0">{mathml}</div>' if block else mathml

    page = FORMULA.sub(replace, page)
    left = re.search(r".{0,60}\$.{0,60}", CODE.sub("", page), flags=re.S)
    if left:
        raise ValueError(f"a formula was left as it is written: {left[0]!r}")
    return page
