"""Which words stand near which: window pair counts from token ids.

Counting is work on the host: NumPy, sparse, one pass per offset inside the window, no loop over tokens.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from nsx._checks import as_ids, as_labels, is_concrete, require_count
from nsx._types import ArrayLike, Int


class PairCounts(NamedTuple):
    """Pair counts #(w, c) at the cells where they are positive, in row-major order.

    Attributes:
        rows: word ids, int32, ascending, shape `(m,)`.
        cols: context ids, int32, ascending within a row, shape `(m,)`.
        values: counts > 0, float64, shape `(m,)`.
        shape: (V, C), the size of the dense table.
    """

    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]


def cooccurrence(
    tokens: Int[ArrayLike, " n"],
    *,
    window: int,
    vocabulary_size: int,
    sentence: Int[ArrayLike, " n"] | None = None,
    weighting: Literal["uniform", "word2vec"] = "uniform",
) -> PairCounts:
    r"""Skip-gram pair counts: every token meets the tokens up to `window` positions away, on both sides.

    $$\#(w, c) = \sum_{t} \sum_{0 < |d| \le W} a_{|d|}\, 1[x_t = w,\ x_{t+d} = c], \qquad
      a_d = 1 \ \text{(uniform)} \quad\text{or}\quad a_d = \tfrac{W - d + 1}{W} \ \text{(word2vec)}.$$

    Args:
        tokens: word ids in [0, vocabulary_size) of any integer type, in reading order, shape `(n,)`, n >= 1.
        window: W >= 1, the farthest offset that counts, in tokens.
        vocabulary_size: V, the side of the table.
        sentence: label of the sentence of each token, shape `(n,)`; no pair crosses a change of label. None is
            one long sentence.
        weighting: "uniform", or "word2vec": the probability that a pair at distance d is used when each token
            draws its window uniformly from 1..W.

    Returns:
        Symmetric `PairCounts` of shape (V, V). Memory at its peak, the result included: about 30 bytes per token
        and 50 per cell of the result; a V x V table is formed only where V^2 <= n.

    Raises:
        ValueError: no token, an id out of range, window or vocabulary_size < 1, labels that do not fit, or an
            unknown weighting.
        TypeError: ids or labels that are not integers, or traced ones.

    Exact for "uniform"; for "word2vec" exactly the expectation over the drawn windows. Runs on the host, not
    under jit.

    Example:
        >>> to_dense(cooccurrence([0, 1, 2, 1], window=1, vocabulary_size=3)).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 2.0], [0.0, 2.0, 0.0]]

    References:
        [mikolov2013efficient, sec. 3.2], [levy2015improving, sec. 3.1]
    """
    require_count("window", window)
    ids = token_ids(tokens, vocabulary_size)
    ids = ids.astype(np.uint32 if vocabulary_size**2 <= 2**32 else np.uint64)  # the smallest that holds a pair's key
    segment = None if sentence is None else sentence_numbers(sentence, ids.shape)
    if weighting not in ("uniform", "word2vec"):
        raise ValueError(f"weighting must be 'uniform' or 'word2vec', got {weighting!r}.")
    offsets = range(1, min(window, ids.size - 1) + 1)
    # integer weights keep the sums exact; the common factor 1/W comes last
    weights = {d: 1 if weighting == "uniform" else window - d + 1 for d in offsets}
    count = _count_dense if vocabulary_size**2 <= ids.size else _count_sparse
    keys, totals = count(ids, segment, vocabulary_size, weights)
    return _mirror(keys, totals / (1 if weighting == "uniform" else window), vocabulary_size)


def to_dense(counts: PairCounts) -> np.ndarray:
    r"""Pair counts as a dense table.

    $$T_{wc} = \#(w, c).$$

    Args:
        counts: pair counts of shape (V, C).

    Returns:
        NumPy float64 array, shape `(V, C)`, zero at the unobserved cells.

    Raises:
        ValueError: an id outside the table.

    Exact.

    Example:
        >>> to_dense(PairCounts(np.array([1]), np.array([0]), np.array([3.0]), (2, 2))).tolist()
        [[0.0, 0.0], [3.0, 0.0]]

    References:
        [levy2014neural, sec. 3]
    """
    _require_cells(counts)
    table = np.zeros(counts.shape)
    table[counts.rows, counts.cols] = counts.values
    return table


def marginals(counts: PairCounts) -> tuple[np.ndarray, np.ndarray]:
    r"""How many pairs each word and each context takes part in.

    $$\#(w) = \sum_c \#(w, c), \qquad \#(c) = \sum_w \#(w, c).$$

    Args:
        counts: pair counts of shape (V, C).

    Returns:
        Word totals, shape `(V,)`, and context totals, shape `(C,)`, NumPy float64. Without sentence bounds they
        are about 2 W times the word counts; the noise of the chapters' closed forms is the second.

    Raises:
        ValueError: an id outside the table.

    Exact.

    Example:
        >>> [m.tolist() for m in marginals(cooccurrence([0, 1, 1], window=1, vocabulary_size=2))]
        [[1.0, 3.0], [1.0, 3.0]]

    References:
        [levy2014neural, sec. 3]
    """
    _require_cells(counts)
    words, contexts = counts.shape
    return (
        np.bincount(counts.rows, counts.values, minlength=words),
        np.bincount(counts.cols, counts.values, minlength=contexts),
    )


def token_ids(tokens: ArrayLike, vocabulary_size: int) -> np.ndarray:
    """Token ids on the host, int32, checked in their own type and size; the first bad id is named."""
    require_count("vocabulary_size", vocabulary_size)
    if vocabulary_size > np.iinfo(np.int32).max:
        raise ValueError(f"vocabulary_size must be below 2^31 for a pair to fit 64 bits, got {vocabulary_size}.")
    _require_host("tokens", tokens)
    shape = np.shape(tokens)
    if 0 in shape:
        raise ValueError("tokens are empty: nothing to count. Check the corpus and its minimum count.")
    if len(shape) != 1:
        raise ValueError(f"tokens must be one stream of shape (n,), got {shape}. Label sentences with `sentence`.")
    return np.asarray(as_ids("tokens", tokens, high=vocabulary_size))


def sentence_numbers(sentence: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Runs of equal labels, numbered: a label that returns later is another sentence."""
    _require_host("sentence", sentence)
    if np.shape(sentence) != shape:
        raise ValueError(f"sentence must label each token, shape {shape}, got {np.shape(sentence)}.")
    labels = np.asarray(*as_labels(sentence=sentence))
    return np.concatenate(([0], np.cumsum(labels[1:] != labels[:-1])))


def _require_host(name: str, value: ArrayLike) -> None:
    if not is_concrete(value):
        raise TypeError(f"{name} are traced, but a corpus is looked at on the host. Call this outside jit.")


def _require_cells(counts: PairCounts) -> None:
    """Raise where a cell lies outside the table: a negative id would count from the end."""
    as_ids("rows", counts.rows, high=counts.shape[0])
    as_ids("cols", counts.cols, high=counts.shape[1])


def _pair_keys(ids: np.ndarray, segment: np.ndarray | None, size: int, offset: int) -> np.ndarray:
    """One key per unordered pair at this distance: smaller id * V + larger id, half as many as ordered pairs."""
    near = ids[:-offset]
    far = ids[offset:]
    keys = np.minimum(near, far) * ids.dtype.type(size) + np.maximum(near, far)
    return keys if segment is None else keys[segment[:-offset] == segment[offset:]]


def _count_dense(ids: np.ndarray, segment: np.ndarray | None, size: int, weights: dict[int, int]) -> tuple:
    """Sorted distinct keys and their weighted counts, through a table of V^2 cells: 20 times a sort where it fits."""
    totals = np.zeros(size * size, np.int64)
    for offset, weight in weights.items():
        totals += weight * np.bincount(_pair_keys(ids, segment, size, offset), minlength=size * size)
    keys = np.flatnonzero(totals)
    return keys, totals[keys]


def _count_sparse(ids: np.ndarray, segment: np.ndarray | None, size: int, weights: dict[int, int]) -> tuple:
    """The same by sorting the keys of one offset at a time, so memory follows the distinct pairs."""
    keys = np.zeros(0, ids.dtype)
    totals = np.zeros(0, np.int64)
    for offset, weight in weights.items():
        new, counts = _run_lengths(_pair_keys(ids, segment, size, offset))
        keys, totals = _merge(keys, totals, new, weight * counts)
    return keys, totals


def _run_lengths(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys in order and how often each occurs; sorts in place."""
    keys.sort()
    starts = np.flatnonzero(np.concatenate((np.ones(min(keys.size, 1), bool), keys[1:] != keys[:-1])))
    return keys[starts], np.diff(starts, append=keys.size)


def _merge(keys: np.ndarray, totals: np.ndarray, new: np.ndarray, counts: np.ndarray) -> tuple:
    """Two sorted tallies as one: known keys are added to, unknown ones inserted."""
    place = np.searchsorted(keys, new)
    known = place < keys.size
    known[known] = keys[place[known]] == new[known]
    totals[place[known]] += counts[known]
    return np.insert(keys, place[~known], new[~known]), np.insert(totals, place[~known], counts[~known])


def _mirror(keys: np.ndarray, values: np.ndarray, size: int) -> PairCounts:
    """Ordered pair counts from unordered ones: (i, j) and (j, i) for i < j, and twice the diagonal.

    No sort of the whole: a row is its mirrored part (columns below the diagonal), then its upper part, so the
    place of every cell follows from how many of either kind come before.
    """
    first, second = (part.astype(np.int32) for part in np.divmod(keys, keys.dtype.type(size)))
    values = np.where(first == second, 2 * values, values)
    off = np.flatnonzero(first != second)
    # a stable sort by the larger id alone: keys come ordered by the smaller one (16 bits sort in linear time)
    off = off[np.argsort(second[off].astype(np.uint16) if size <= 2**16 else second[off], kind="stable")]
    upper_ends = np.cumsum(np.bincount(first, minlength=size))
    lower_ends = np.cumsum(np.bincount(second[off], minlength=size))
    upper_place = np.arange(first.size) + lower_ends[first]
    lower_place = np.arange(off.size) + np.concatenate(([0], upper_ends))[second[off]]
    table = PairCounts(*(np.empty(first.size + off.size, part.dtype) for part in (first, second, values)), (size, size))
    for place, parts in ((upper_place, (first, second, values)), (lower_place, (second[off], first[off], values[off]))):
        for target, source in zip(table[:3], parts, strict=True):
            target[place] = source
    return table
