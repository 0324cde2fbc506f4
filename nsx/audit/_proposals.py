"""Proposals by name: what a user writes on a command line, as log-weights over the candidates of an anchor."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nsx import samplers
from nsx._types import Array, ArrayLike
from nsx.audit._problem import Problem

NAMES = "uniform, power:ALPHA, in-batch, gibbs:SHARPNESS, scores:TEMPERATURE, ann:RECALL, weights:KEY"
Weigh = Callable[[Array], Array]


class Proposal(NamedTuple):
    """A law over candidates.

    Attributes:
        name: as the user wrote it.
        log_weights: scores `(r, n)` of r anchors to log-weights, `(n,)` or `(r, n)`, -inf for probability 0.
        shared: whether all negatives of a batch come from one draw, as in-batch negatives do.
    """

    name: str
    log_weights: Weigh
    shared: bool = False


def proposal(
    name: str,
    problem: Problem,
    *,
    num_negatives: int = 64,
    temperature: float = 1.0,
    weights: dict[str, ArrayLike] | None = None,
) -> Proposal:
    r"""A proposal from its name and parameter.

    $$\log q_j = 0,\quad \alpha\log n_j,\quad -\beta d_{ij},\quad s_{ij}/\tau,\quad
      \log\bigl((1-\varepsilon) p_j + \varepsilon/n\bigr),$$

    for `uniform`, `power:ALPHA` (and `in-batch`, which is `power:1`), `gibbs:SHARPNESS` with d the distance from the
    best score of the row, `scores:TEMPERATURE`, and `ann:RECALL`: an index of that recall, modelled as the
    model's own softmax mixed with misses that are uniform.

    Args:
        name: one of the above, or `weights:KEY` for log-weights of the caller's.
        problem: what it is for; `power` and `in-batch` use its counts (without counts all are 1).
        num_negatives: k, which turns a recall into a share of misses, (1 - recall) / (1 - k/n).
        temperature: of the softmax that `ann` approximates.
        weights: log-weights by key, `(n,)` or one row an anchor `(m, n)`.

    Returns:
        `Proposal`.

    Raises:
        ValueError: an unknown name, a parameter that is missing, not a number or out of range, an unknown key,
            log-weights of the wrong shape, power without counts.

    Exact: the laws are those of `nsx.samplers`.

    Example:
        >>> from nsx.audit import problem_from_scores
        >>> p = problem_from_scores(np.zeros((1, 3)), np.array([0]), counts=np.array([1, 2, 4]))
        >>> [round(float(x), 2) for x in proposal("power:2", p).log_weights(jnp.zeros((1, 3)))]
        [0.0, 1.39, 2.77]

    References:
        [mikolov2013distributed], [blanc2018adaptive]
    """
    kind, _, parameter = name.partition(":")
    size = len(problem.candidates)
    if kind == "uniform":
        _refuse(name, parameter)
        return Proposal(name, lambda scores: jnp.zeros(size))
    if kind in ("power", "in-batch"):
        if kind == "in-batch":
            _refuse(name, parameter)
        if problem.counts is None and kind == "power":
            raise ValueError(f"{name} needs counts of the candidates, and there are none.")
        counts = np.ones(size) if problem.counts is None else problem.counts
        exponent = 1.0 if kind == "in-batch" else _number(name, parameter, -np.inf, np.inf)
        law = samplers.power(jnp.asarray(counts, jnp.float32), exponent=exponent)
        return Proposal(name, lambda scores: law, shared=kind == "in-batch")
    if kind == "gibbs":
        sharpness = _number(name, parameter, 0, np.inf)
        distance = lambda scores: jnp.max(scores, axis=-1, keepdims=True) - scores
        return Proposal(name, lambda scores: samplers.gibbs(distance(scores), sharpness=sharpness))
    if kind == "scores":
        tau = _number(name, parameter, np.finfo(np.float32).tiny, np.inf)
        return Proposal(name, lambda scores: samplers.from_scores(scores, temperature=tau))
    if kind == "ann":
        recall = _number(name, parameter, num_negatives / size if num_negatives < size else 1, 1)
        rate = (1 - recall) / (1 - num_negatives / size) if num_negatives < size else 0.0
        model = lambda scores: samplers.from_scores(scores, temperature=temperature)
        return Proposal(name, lambda scores: samplers.mix_uniform(model(scores), rate=rate))
    if kind == "weights":
        return _from_file(name, parameter, problem, weights or {})
    raise ValueError(f"unknown proposal {name!r}; there are {NAMES}.")


def _from_file(name: str, key: str, problem: Problem, weights: dict[str, ArrayLike]) -> Proposal:
    if key not in weights:
        raise ValueError(f"{name}: no log-weights under {key!r}; there are {', '.join(sorted(weights)) or 'none'}.")
    law, size = np.asarray(weights[key], np.float32), len(problem.candidates)
    if law.shape != (size,):
        raise ValueError(f"{name}: log-weights must have shape {(size,)}, one a candidate, got {law.shape}.")
    if np.any(np.isnan(law)) or not np.any(np.isfinite(law)):
        raise ValueError(f"{name}: log-weights hold NaN or no mass, first at {int(np.argmax(~np.isfinite(law)))}.")
    return Proposal(name, lambda scores: jnp.asarray(law))


def _refuse(name: str, parameter: str) -> None:
    if parameter:
        raise ValueError(f"{name.partition(':')[0]} takes no parameter, got {parameter!r}.")


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}: the parameter must be a number, as in {NAMES}.") from None
    if not low <= value <= high:
        raise ValueError(f"{name}: the parameter must be in [{low:.3g}, {high:.3g}].")
    return value
