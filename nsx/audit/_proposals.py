"""Proposals: laws over candidates, and the table of those that have a name on a command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nsx import samplers
from nsx._checks import SMALLEST_NORMAL, require_count, require_positive
from nsx._types import Array, ArrayLike
from nsx.audit._problem import Problem
from nsx.audit._vectors import as_numbers


class Proposal(NamedTuple):
    """A law over candidates.

    Attributes:
        name: as the reader shall see it.
        log_weights: an array, `(n,)` or one row per pair `(m, n)`, or a function of the scores `(r, n)` of r anchors
            that returns `(n,)` or `(r, n)`; -inf is probability 0.
        shared: whether all negatives of a batch come from one draw, as in-batch negatives do. A draw that hits the
            pair's own positive is then masked and counts in k; else it is never drawn.
        assumes: what was taken for granted in making it, in words, or "".
    """

    name: str
    log_weights: Callable[[Array], Array] | ArrayLike
    shared: bool = False
    assumes: str = ""

    def at(self, scores: Array, pairs: np.ndarray) -> Array:
        """Log-weights `(r, n)` in float32 for r pairs: their `scores` `(r, n)`, and their places `pairs` `(r,)`."""
        if callable(self.log_weights):
            found = jnp.asarray(self.log_weights(scores))
        else:
            rows = np.asarray(self.log_weights, np.float32)
            found = jnp.asarray(rows if rows.ndim == 1 else rows[pairs])
        if found.shape not in (scores.shape, scores.shape[1:]):
            raise ValueError(
                f"{self.name}: log-weights must have shape {scores.shape[1:]} or {scores.shape}, got {found.shape}."
            )
        found = found.astype(jnp.float32)
        return jnp.broadcast_to(found if found.ndim == 2 else found[None], scores.shape)


class Request(NamedTuple):
    """What a builder of named proposals is given.

    Attributes:
        name: as the user wrote it, such as "power:0.75".
        parameter: what stands behind the colon, "" where nothing does.
        problem: what the proposal is for.
        k: number of negatives.
        temperature: of the loss.
        weights: log-weights of the user's, by key.
    """

    name: str
    parameter: str
    problem: Problem
    k: int
    temperature: float
    weights: Mapping[str, ArrayLike]

    def number(self, low: float, high: float) -> float:
        """The parameter as a number from low to high, or a ValueError that names the proposal."""
        try:
            value = float(self.parameter)
        except ValueError:
            raise ValueError(f"{self.name}: the parameter must be a number, as in {usages()}.") from None
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"{self.name}: the parameter must be finite and in [{low:.3g}, {high:.3g}].")
        return value

    def nothing(self) -> None:
        """A ValueError where there is a parameter."""
        if self.parameter:
            raise ValueError(f"{self.name.partition(':')[0]} takes no parameter, got {self.parameter!r}.")


class NamedLaw(NamedTuple):
    """An entry of the table: `usage`, such as "power:ALPHA", and the function `build` from a request to a proposal."""

    usage: str
    build: Callable[[Request], Proposal]


PROPOSALS: dict[str, NamedLaw] = {}


def register_proposal(usage: str, build: Callable[[Request], Proposal]) -> None:
    r"""Add a proposal to the table `PROPOSALS`, so that `named_proposal` and the command line know its name.

    $$\texttt{name:parameter} \mapsto \log q(\cdot) .$$

    Args:
        usage: how it is written, its name before the colon and a word for its parameter behind: "nearest:COUNT", or
            "uniform" where it takes none.
        build: from a `Request` to a `Proposal`.

    Returns:
        None.

    Raises:
        ValueError: a name that is empty or taken. To replace an entry, delete it from `PROPOSALS` first.

    Exact: nothing is computed here.

    Example:
        >>> from nsx.audit import from_scores
        >>> def nearest(request):
        ...     most = int(request.number(1, math.inf))
        ...     def law(scores):
        ...         return jnp.where(scores >= jnp.sort(scores)[:, -most, None], 0.0, -jnp.inf)
        ...     return Proposal(request.name, law)
        >>> register_proposal("nearest:COUNT", nearest)
        >>> scores = np.array([[0.2, 0.9, 0.5]])
        >>> named_proposal("nearest:2", from_scores(scores, np.array([0]))).log_weights(scores).tolist()
        [[-inf, 0.0, 0.0]]
        >>> del PROPOSALS["nearest"]

    References:
        [bengio2008adaptive]
    """
    kind = usage.partition(":")[0]
    if not kind.strip():
        raise ValueError(f"a proposal needs a name, got usage {usage!r}; write it as in 'power:ALPHA'.")
    if kind in PROPOSALS:
        raise ValueError(f"there is a proposal {PROPOSALS[kind].usage!r} already; delete PROPOSALS[{kind!r}] first.")
    PROPOSALS[kind] = NamedLaw(usage, build)


def usages() -> str:
    """How all proposals of the table are written."""
    return ", ".join(entry.usage for entry in PROPOSALS.values())


def named_proposal(
    name: str,
    problem: Problem,
    *,
    k: int = 64,
    temperature: float = 1.0,
    weights: Mapping[str, ArrayLike] | None = None,
) -> Proposal:
    r"""A proposal from its name and parameter.

    $$\log q_j = 0,\quad \alpha\log n_j,\quad -\beta d_{ij},\quad s_{ij}/\tau,\quad
      \log\bigl((1-\varepsilon) p_j + \varepsilon/n\bigr),$$

    for `uniform`, `power:ALPHA` (and `in-batch`, which is `power:1` with hits of the positive masked),
    `gibbs:SHARPNESS` with d the distance from the best score of the row, `scores:TEMPERATURE`, and `ann:RECALL`: an
    index of that recall, modelled as the model's own softmax mixed with misses that are uniform.

    Args:
        name: one of the above, or `weights:KEY` for log-weights of the caller's, or what `register_proposal` added.
        problem: what it is for; `power` and `in-batch` use its counts. Without them `in-batch` takes all candidates as
            equally frequent, and says so in what it `assumes`.
        k: number of negatives, which turns a recall into a share of misses, (1 - recall) / (1 - k/n).
        temperature: of the softmax that `ann` approximates.
        weights: log-weights by key, `(n,)` or one row per pair `(m, n)`.

    Returns:
        `Proposal`.

    Raises:
        ValueError: an unknown name, a parameter that is missing, not a number or out of range, an unknown key,
            log-weights of the wrong shape, power without counts, k below 1, a temperature that is not positive.
        TypeError: k that is no integer.

    Exact: the laws are those of `nsx.samplers`.

    Example:
        >>> from nsx.audit import from_scores
        >>> p = from_scores(np.zeros((1, 3)), np.array([0]), counts=np.array([1, 2, 4]))
        >>> [round(float(x), 2) for x in named_proposal("power:2", p).log_weights(jnp.zeros((1, 3)))]
        [0.0, 1.39, 2.77]

    References:
        [mikolov2013distributed], [blanc2018adaptive]
    """
    kind, _, parameter = name.partition(":")
    if kind not in PROPOSALS:
        raise ValueError(f"unknown proposal {name!r}; there are {usages()}.")
    request = Request(
        name=name,
        parameter=parameter,
        problem=problem,
        k=require_count("k", k),
        temperature=require_positive("temperature", temperature),
        weights=weights or {},
    )
    return PROPOSALS[kind].build(request)


def _constant(name: str, law: Array, **rest: bool | str) -> Proposal:
    """A proposal that does not look at the scores."""

    def log_weights(scores: Array) -> Array:
        """The same for every anchor."""
        return law

    return Proposal(name, log_weights, **rest)


def _uniform(request: Request) -> Proposal:
    request.nothing()
    return _constant(request.name, jnp.zeros(len(request.problem.candidates), jnp.float32))


def _power(request: Request) -> Proposal:
    counts = request.problem.counts
    if counts is None:
        raise ValueError(f"{request.name} needs counts of the candidates, and there are none: give `counts`.")
    exponent = request.number(-math.inf, math.inf)
    return _constant(request.name, samplers.power(jnp.asarray(counts, jnp.float32), exponent=exponent))


def _in_batch(request: Request) -> Proposal:
    request.nothing()
    counts = request.problem.counts
    if counts is None:
        assumes = "without counts every candidate is taken as equally frequent"
        law = jnp.zeros(len(request.problem.candidates), jnp.float32)
        return _constant(request.name, law, shared=True, assumes=assumes)
    return _constant(request.name, samplers.power(jnp.asarray(counts, jnp.float32), exponent=1.0), shared=True)


def _gibbs(request: Request) -> Proposal:
    sharpness = request.number(0, math.inf)

    def log_weights(scores: Array) -> Array:
        """By the distance from the best score of the row."""
        return samplers.gibbs(jnp.max(scores, axis=-1, keepdims=True) - scores, sharpness=sharpness)

    return Proposal(request.name, log_weights)


def _scores(request: Request) -> Proposal:
    temperature = request.number(SMALLEST_NORMAL, math.inf)

    def log_weights(scores: Array) -> Array:
        """The model's softmax at this temperature."""
        return samplers.from_scores(scores, temperature=temperature)

    return Proposal(request.name, log_weights)


def _ann(request: Request) -> Proposal:
    size = len(request.problem.candidates)
    by_chance = min(request.k / size, 1.0)  # recall of k random candidates of n
    recall = request.number(by_chance, 1)
    rate = 0.0 if by_chance == 1 else (1 - recall) / (1 - by_chance)

    def log_weights(scores: Array) -> Array:
        """The model's softmax, with misses that are uniform."""
        return samplers.mix_uniform(samplers.from_scores(scores, temperature=request.temperature), rate=rate)

    return Proposal(request.name, log_weights)


def _weights(request: Request) -> Proposal:
    name, key, weights = request.name, request.parameter, request.weights
    if key not in weights:
        raise ValueError(f"{name}: no log-weights under {key!r}; there are {', '.join(sorted(weights)) or 'none'}.")
    law = as_numbers(name, weights[key]).astype(np.float32)
    shapes = (len(request.problem.candidates),), (len(request.problem.anchors), len(request.problem.candidates))
    if law.shape not in shapes:
        raise ValueError(f"{name}: log-weights must have shape {shapes[0]} or {shapes[1]}, got {law.shape}.")
    rows = law[None] if law.ndim == 1 else law
    bad = np.isnan(rows).any(axis=1) | np.isposinf(rows).any(axis=1) | np.isneginf(rows).all(axis=1)
    if bad.any():
        where = f"row {int(np.argmax(bad))} holds" if law.ndim == 2 else "they hold"
        raise ValueError(f"{name}: {where} NaN, +inf or no mass; a log-weight is finite, or -inf for probability 0.")
    return Proposal(name, law)


register_proposal("uniform", _uniform)
register_proposal("power:ALPHA", _power)
register_proposal("in-batch", _in_batch)
register_proposal("gibbs:SHARPNESS", _gibbs)
register_proposal("scores:TEMPERATURE", _scores)
register_proposal("ann:RECALL", _ann)
register_proposal("weights:KEY", _weights)
