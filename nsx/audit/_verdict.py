"""What to do about a proposal, in words: nothing is said that the standard errors do not carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nsx.audit._measured import Comparison, Measured, student
from nsx.audit._summary import Common, Evidence, MassSummary, Standing, excess

MATERIAL = 0.1  # a tenth of the full gradient's length: what bias or drift may have and count as sound
SLIGHT = 0.9  # a change to more than this share of what it was is not worth the trouble
SAME = 1e-4  # relative difference of two squares that is rounding
MANY_FALSE = 0.5  # expected false negatives among k
OFTEN = 0.5  # probability to meet a hard negative
MOST_PAIRS = 10_000_000  # beyond this nobody will look for the answer
NAMED = 3  # proposals that a sentence lists


def verdict(found: Evidence, common: Common) -> str:
    """What to do about a proposal, each reason with its number."""
    if common.vanished:
        return common.vanished
    plain, corrected = (standing.value for standing in found.standings)
    if not (plain.known and corrected.known):
        return no_verdict(common)
    k = common.options.k[-1]
    sentences = [*_about_draws(found.masses, common), *_about_log_q(found.log_q, plain, corrected, common)]
    noise = [side.signal_to_noise[-1] for side in (found.plain, found.corrected)]
    if all(_below(ratio, 1, common.num_anchors) for ratio in noise):
        sentences.append(f"noise outweighs the signal at k = {k}")
    if found.assumes:
        sentences.append(found.assumes)
    return "; ".join(sentences)


def no_verdict(common: Common) -> str:
    """Why nothing can be said."""
    if common.num_anchors < 2:
        return "no verdict: a single anchor has no standard error; give at least two"
    return f"no verdict: the {common.criterion} is no finite number here"


def recommendation(all_found: Sequence[Evidence], common: Common) -> str:
    """The proposal with the least of the criterion, with log q or without, and what is not told from it."""
    if common.vanished:
        return common.vanished
    known = [side for found in all_found for side in found.standings if side.value.known]
    if not known:
        return no_verdict(common)
    best = min(known, key=_order)
    text = f"{best.text} at k = {common.options.k[-1]}: the least {common.criterion}, {number(best.value)}"
    false = next(found.masses.false_negatives for found in all_found if found.name == best.name)
    if false is not None and _above(false, MANY_FALSE, common.num_anchors):
        text += f", but {number(false)} of its draws are false negatives"
    rivals = [(side, excess(side, best, common.num_pairs)) for side in known if side is not best]
    close = [rival for rival in rivals if not rival[1].resolved]
    close.sort(key=lambda rival: _order(rival[0]))
    if close:
        listed = [f"{side.text} ({_needed(found)} would tell)" for side, found in close[:NAMED]]
        more = f" and {len(close) - NAMED} more" if len(close) > NAMED else ""
        text += f"; not resolved from it: {', '.join(listed)}{more}"
    return text


def _order(side: Standing) -> tuple[float, float]:
    """By the criterion; of those that are 0 as far as one can tell, by how far that is."""
    error = side.value.standard_error
    return side.value.value, 0.0 if error is None else error


def number(found: Measured) -> str:
    """A number in a sentence: with its error, or as below it where it is not told from 0."""
    if found.standard_error is None or found.standard_error == 0:
        return f"{found.value:.2g}"
    if found.value < found.standard_error:
        return f"below {found.standard_error:.1g}"
    places = max(0, -math.floor(math.log10(found.standard_error)))
    return f"{found.value:.{places}f}±{found.standard_error:.{places}f}"


def _about_draws(masses: MassSummary, common: Common) -> list[str]:
    """False negatives, copies, and hard negatives that are missed."""
    k = common.options.k[-1]
    sentences = []
    false = masses.false_negatives
    if false is not None and _above(false, MANY_FALSE, common.num_anchors):
        sentences.append(f"draws {number(false)} false negatives per anchor: exclude or debias them")
    if _below(masses.effective_negatives, k, common.num_anchors):
        count = f"{masses.effective_negatives.value:.2g}"
        sentences.append(f"its {k} draws come from about {count} candidates: fewer would do")
    if _below(masses.hard_probability, OFTEN, common.num_anchors):
        needed = "no number" if math.isinf(masses.negatives_needed) else f"k = {masses.negatives_needed:,.0f}"
        share = f"{100 * common.options.hard_share:.3g} %"
        sentences.append(f"seldom meets the hardest {share}: {needed} finds one in 95 % of anchors")
    return sentences


def _about_log_q(log_q: Comparison, plain: Measured, corrected: Measured, common: Common) -> list[str]:
    """Whether to correct, and what stays in either case."""
    word = common.criterion
    anchors = common.num_anchors
    if all(_below(side, MATERIAL, anchors) for side in (plain, corrected)):
        return [f"sound with log q or without: {word} {number(corrected)} or {number(plain)}"]
    difference = log_q.difference.value
    largest = max(plain.value, corrected.value) ** 2
    nothing = abs(difference) <= SAME * largest
    reach = 0.0 if log_q.resolved else _reach(log_q.difference, anchors)
    slight = abs(difference) + reach <= (1 - SLIGHT**2) * largest
    better = corrected if difference > 0 else plain
    sentences = []
    if nothing:
        sentences.append(f"log q changes nothing: {word} {number(plain)}")
    elif slight:
        sentences.append(f"log q changes little: {word} {number(corrected)} for {number(plain)}")
    elif not log_q.resolved:
        sentences.append(
            f"with log q or without is not resolved: {word} {number(corrected)} or {number(plain)}; "
            f"{_needed(log_q)} would tell"
        )
    elif difference > 0:
        sentences.append(f"correct by log q: {word} {number(plain)} falls {_to(corrected)}")
    else:
        sentences.append(f"leave log q out: {word} {number(plain)} would rise {_to(corrected)}")
    if _above(better, MATERIAL, anchors):
        sentences.append(f"{word} stays above {MATERIAL:g}: more negatives, or a law nearer to the softmax")
    return sentences


def _to(found: Measured) -> str:
    """Where a number goes to."""
    text = number(found)
    return text if text.startswith("below") else f"to {text}"


def _needed(found: Comparison) -> str:
    """How many pairs would resolve a difference, to one digit rounded up."""
    if not found.pairs_needed <= MOST_PAIRS:
        return f"more than {MOST_PAIRS:,} pairs"
    size = 10 ** math.floor(math.log10(max(found.pairs_needed, 1)))
    return f"about {math.ceil(found.pairs_needed / size) * size:,.0f} pairs"


def _above(found: Measured, level: float, num_anchors: int) -> bool:
    """Whether a number is above a level, at 97.5 %."""
    return found.value - _reach(found, num_anchors) > level


def _below(found: Measured, level: float, num_anchors: int) -> bool:
    """Whether a number is below a level, at 97.5 %."""
    return found.value + _reach(found, num_anchors) < level


def _reach(found: Measured, num_anchors: int) -> float:
    return 0.0 if found.standard_error is None else student(num_anchors - 1) * found.standard_error
