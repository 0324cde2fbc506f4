"""The file that `python -m experiments new CLAIM` writes: a claim that runs, fails honestly, and passes lint."""

from __future__ import annotations

TEXT = '''r"""TODO: the claim in one line.

**Prediction.** TODO: with its formula, $H = \\log n$, and every symbol defined: $H$ is the entropy in nats of the
uniform law over $n$ candidates.

**Measurement.** TODO: what is drawn, trained or computed, and how often.

**Refuted if** TODO: which outcome would show that it is wrong.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from experiments._runner import Check, Claim, Figure, equal
from experiments._runner.drawing import measured_points, theory_line
from nsx import entropy

CLAIM = Claim(
    statement="TODO: the claim in one sentence.",
    finding="TODO: what came out, in one sentence.",
    references=(),
    own=True,  # TODO: or the sentences of a chapter, or the paper that states it
)

SIZES = {
    "quick": {"replicates": 64},
    "full": {"replicates": 1024},
    "device": {"replicates": 16384},
}
CANDIDATES = np.array([2, 8, 32, 128])  # TODO: each constant on a line of its own, with its reason


class Mechanism(NamedTuple):
    """What could be otherwise; the defaults are the truth."""

    temperature: float = 1.0


class Data(NamedTuple):
    """All that is measured."""

    entropy: Float[Array, "replicates sizes"]  # of the softmax over the first n of random scores


def compute(key: Array, mechanism: Mechanism = Mechanism(), *, replicates: int) -> Data:
    """TODO: what one run does."""
    return measure(key, mechanism, replicates=replicates)


@partial(jax.jit, static_argnames=("replicates",))
def measure(key, mechanism, *, replicates):
    scores = jax.random.normal(key, (replicates, CANDIDATES[-1]))
    columns = [entropy.entropy(scores[:, :n], mechanism.temperature) for n in CANDIDATES.tolist()]
    return Data(entropy=jnp.stack(columns, axis=1))


def the_law_is_uniform(data: Data) -> Check:
    """TODO: the sentence that is checked. This one is wrong on purpose: scores that differ are not uniform."""
    predicted = np.log(CANDIDATES)
    measured = data.entropy.mean(axis=0)
    margin = 0.01
    return equal(predicted, measured, margin, because="TODO: why this margin and no other")


CHECKS = (the_law_is_uniform,)
CONTROLS = {"a temperature at which all candidates are alike": Mechanism(temperature=1e6)}


def entropy_by_size(ax: Axes, data: Data) -> None:
    """TODO: the caption. Entropy of the softmax over n scores (mean, 95 % bars) and log n (dashed)."""
    ax.set(xscale="log")
    theory_line(ax, np.log, CANDIDATES[0], CANDIDATES[-1], log=True, name="log n")
    measured_points(ax, CANDIDATES, data.entropy, name="softmax of random scores")
    ax.set(title="TODO: a title that stands alone", xlabel="candidates n", ylabel="entropy (nats)")


FIGURE = Figure("A", A=entropy_by_size)
'''
