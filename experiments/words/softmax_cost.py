r"""A step of the full softmax costs O(V), a step of negative sampling O(k).

Counted by XLA, not timed: floating-point operations and bytes of whole training steps (loss, gradient, update) of
batch B in dimension d, from shapes alone. As written here, a step takes, per dimension (scores left out),

    full softmax    (6 B + 1) V + B flops         6 V + 8 B entries read or written
    SGNS, by rows   B (7 (k + 1) + 1) flops       8 B (k + 2) entries

so the two cost the same in flops at V = 7/6 (k + 1), whatever B, but in bytes at V = 4/3 B (k + 2), for a batch shares
its passes over the table: on a machine that does beta flops a byte, a softmax that keeps its scores on chip wins up
to V = (k + 2) min(4/3 B, 16/3 beta). Refuted if the slopes in V and k are not 1 and 0, or the counts not these; or
if a dense optimiser, or a table copied because it was not donated, did not hide the gain.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, close
from experiments._style import measured, panels, theory
from experiments.words._softmax_steps import PROGRAMS, Program, compiled, full_softmax, needs, sgns_by_rows, written
from nsx import samplers

CLAIM = Claim(
    statement="Negative sampling brings the cost of a step from O(V) for the full softmax down to O(k).",
    source="002, from a million questions to a few",
    references=("mikolov2013distributed", "williams2009roofline"),
)
SIZES = {
    "quick": {"dimension": 64, "batch": 16, "negatives": 5, "vocabularies": (1000, 1000000)},
    "full": {"dimension": 128, "batch": 16, "negatives": 15, "vocabularies": (1000, 10000, 100000, 1000000)},
    "device": {"dimension": 256, "batch": 64, "negatives": 15, "vocabularies": (1000, 10000, 100000, 1000000)},
}
NEGATIVES = (1, 16, 256, 4096)
BATCHES = (4, 64, 1024)
COMPILED = "full", "rows", "copied"
REFERENCE = 100000  # the vocabulary of the sweeps over k and B
BALANCE = 14  # flops a byte, about those of a data-centre GPU in float32
SUMMED = 1e-5  # XLA adds its counts in float32


class Data(NamedTuple):
    """`size` is (dimension, batch, negatives). `flops`, `bytes`: as written, PROGRAMS by vocabularies.

    `compiled_flops`, `fresh_bytes`: COMPILED, at the ends of the vocabularies; the memory that a
    step needs besides the tables it is given. `flops_by_negatives`: rows and shared. `*_per_dimension`: full and rows
    by BATCHES, the increase with d, in which the scores drop out. `rows_moved`, `rows_named` (2,): rows of a
    table that one step of full and of rows changes, and different words that it names.
    """

    size: np.ndarray
    vocabularies: np.ndarray
    flops: np.ndarray
    bytes: np.ndarray
    compiled_flops: np.ndarray
    fresh_bytes: np.ndarray
    flops_by_negatives: np.ndarray
    flops_per_dimension: np.ndarray
    bytes_per_dimension: np.ndarray
    rows_moved: np.ndarray
    rows_named: np.ndarray


def rows_moved(key, program, vocabulary, negatives, batch, dimension):
    """Rows of the context table that one real step changes, and different rows among the words it names."""
    noise_law = samplers.power(1e6 / np.arange(1, vocabulary + 1), exponent=0.75)  # word2vec's, over a Zipf law
    ids = np.asarray(samplers.draw_inverse(key, noise_law, (batch, 2 + negatives)))
    tables = (
        np.cos(np.arange(program.tables * vocabulary * dimension)).reshape(program.tables, vocabulary, -1) / dimension
    )
    tables, step = tables.astype(np.float32), compiled(program, vocabulary, negatives, batch, dimension)
    after = np.asarray(step(tuple(jnp.asarray(t) for t in tables), ids[:, 0], ids[:, 1], ids[:, 2:])[1])
    return np.sum(np.any(after != tables[1], axis=1)), len(np.unique(ids[:, 1:]))


def compute(key, *, dimension, batch, negatives, vocabularies, **others):
    """Each further keyword is the name of one of PROGRAMS, and puts another in its place."""
    chosen, shape = PROGRAMS | others, (negatives, batch, dimension)
    count = lambda names, grid, f: np.array([[f(chosen[name], point) for point in grid] for name in names])
    by_vocabulary = count(chosen, vocabularies, lambda p, v: written(p, v, *shape))
    ends = count(COMPILED, (vocabularies[0], vocabularies[-1]), lambda p, v: needs(compiled(p, v, *shape)))
    by_negatives = count(("rows", "shared"), NEGATIVES, lambda p, k: written(p, REFERENCE, k, batch, dimension))
    twice, once = (
        count(("full", "rows"), BATCHES, lambda p, b, d=d: written(p, REFERENCE, negatives, b, d))
        for d in (2 * dimension, dimension)
    )
    keys = jax.random.split(key)
    moved = [rows_moved(k, chosen[n], vocabularies[0], *shape) for k, n in zip(keys, ("full", "rows"), strict=True)]
    return Data(
        size=np.array([dimension, batch, negatives]),
        vocabularies=np.array(vocabularies),
        flops=by_vocabulary[..., 0],
        bytes=by_vocabulary[..., 1],
        compiled_flops=ends[..., 0],
        fresh_bytes=ends[..., 1],
        flops_by_negatives=by_negatives[..., 0],
        flops_per_dimension=(twice - once)[..., 0] / dimension,
        bytes_per_dimension=(twice - once)[..., 1] / dimension,
        rows_moved=np.array(moved)[:, 0],
        rows_named=np.array(moved)[:, 1],
    )


def slope(x, y):
    """In log-log, between the last two points."""
    return np.diff(np.log(y[..., -2:])) / np.diff(np.log(x[-2:]))


def crossing(cost):
    """Vocabulary at which the full softmax costs what SGNS by rows does, along BATCHES."""
    return REFERENCE * cost[1] / cost[0]


def by_hand(size):
    """Flops and bytes per dimension of the full softmax over REFERENCE words and of SGNS by rows, along BATCHES."""
    b, k, v = np.array(BATCHES), size[2], REFERENCE
    return np.array([(6 * b + 1) * v + b, b * (7 * (k + 1) + 1)]), 4 * np.array([6 * v + 8 * b, 8 * b * (k + 2)])


def verdict(data):
    d, batch, k = data.size
    v, ends, b = data.vocabularies, data.vocabularies[[0, -1]], np.array(BATCHES)
    full, rows, _ = data.compiled_flops
    fresh, (flops, moved) = data.fresh_bytes, by_hand(data.size)
    by_flops, by_bytes = crossing(data.flops_per_dimension), crossing(data.bytes_per_dimension)
    in_time = crossing(np.maximum(data.flops_per_dimension / BALANCE, data.bytes_per_dimension))
    copies = (fresh[2] - fresh[1]) / (4 * d * ends)
    wins = (k + 2) * np.minimum(4 / 3 * b, 16 / 3 * BALANCE)
    beside = 8 * batch * (k + 2) / (6 * v[-2])  # work on the rows named, against 6 flops an entry of the tables
    return (
        close("full softmax: slope of flops in V", 1, slope(v, data.flops[0]), 1 / v[-2]),  # the rest: below one row
        close("full softmax: slope of flops in V, compiled", 1, slope(ends, full), 1 / v[0]),
        close("SGNS by rows: slope of flops in V", 0, slope(v, data.flops[1:3]), 0),
        close("SGNS by rows: slope of bytes in V", 0, slope(v, data.bytes[1:3]), 0),
        close("SGNS by rows: slope of flops in V, compiled", 0, slope(ends, rows), 0),
        close("SGNS by rows: slope of the memory it needs in V", 0, slope(ends, fresh[1]), 0),
        close("SGNS: slope of flops in k", 1, slope(NEGATIVES, data.flops_by_negatives), 2 / NEGATIVES[-2]),
        close("flops per dimension / counted by hand", 1, data.flops_per_dimension / flops, SUMMED),
        close("bytes per dimension / counted by hand", 1, data.bytes_per_dimension / moved, SUMMED),
        close("rows moved: all by the full softmax", v[0], data.rows_moved[0], 0),
        close("rows moved: those it names by SGNS", data.rows_named[1], data.rows_moved[1], 0),
        close("crossing in flops / (k + 1)", 7 / 6, by_flops / (k + 1), 7 / 6 * (1 / (7 * k + 7) + 1 / (6 * b))),
        close("crossing in flops: slope in the batch", 0, slope(b, by_flops), 1 / (6 * b[-2])),
        close("crossing in bytes: slope in the batch", 1, slope(b, by_bytes), b[-1] / REFERENCE),
        close("crossing in time at 14 flops a byte / predicted", 1, in_time / wins, 1 / (6 * b) + 2 * b / REFERENCE),
        close("dense optimiser: slope of flops in V", 1, slope(v, data.flops[3]), beside),
        close("table not donated: tables copied", 2, copies, fresh[1] / (4 * d * ends)),
    )


def controls(key, data, **size):
    right, run = PROGRAMS, partial(compute, key, **SIZES["quick"])
    few = Program(lambda tables, centre, context, noise: sgns_by_rows(tables, centre, context, noise[:, :1]))
    one = Program(lambda tables, centre, context, noise: full_softmax(tables, centre[:1], context[:1], noise))
    return {
        "dense momentum taken for updates by rows, and the reverse": run(rows=right["dense"], dense=right["rows"]),
        "SGNS taken for the full softmax": run(full=right["rows"]),
        "one negative whatever k": run(rows=few),
        "one centre for the whole batch of the softmax": run(full=one),
        "updates by rows of a table that is not donated": run(rows=right["copied"]),
    }


LABELS = "full softmax", "SGNS, by rows", "SGNS, shared negatives", "SGNS, dense momentum", "SGNS, tables not donated"


def plot(data):
    fig, ((operations, negatives), (memory, where)) = panels(2, 2, width=4.2, height=3.1)
    (d, b, k), v, x = data.size, data.vocabularies, np.geomspace(BATCHES[0], 16 * BATCHES[-1], 50)
    for row, label in enumerate(LABELS[:4]):
        measured(operations, v, data.flops[row] / b, label=label)
    theory(operations, v, (6 + 1 / b) * d * v, label="counted by hand")
    theory(operations, v, np.full(len(v), (7 * (k + 1) + 1) * d))
    for row, label in enumerate(LABELS[1:3]):
        measured(negatives, NEGATIVES, data.flops_by_negatives[row] / b, label=label, color=f"C{row + 1}")
    theory(negatives, NEGATIVES, (7 * (np.array(NEGATIVES) + 1) + 1) * d, label="counted by hand")
    for row, column in enumerate((0, 1, 4)):
        measured(memory, v[[0, -1]], data.fresh_bytes[row], label=LABELS[column], color=f"C{column}")
    theory(memory, v, 8.0 * d * v, label="two tables")
    measured(where, BATCHES, crossing(data.bytes_per_dimension), label="equal bytes", linestyle="")
    measured(where, BATCHES, crossing(data.flops_per_dimension), label="equal flops", linestyle="")
    theory(where, x, 4 / 3 * x * (k + 2), label=r"$\frac{4}{3}B(k+2)$ and $\frac{7}{6}(k+1)$")
    theory(where, x, np.full(50, 7 / 6 * (k + 1)))
    for balance, style in ((BALANCE, ":"), (200, "-.")):
        wins = (k + 2) * np.minimum(4 / 3 * x, 16 / 3 * balance)
        where.plot(x, wins, color="0.5", linestyle=style, label=f"equal time, {balance} flops a byte")
    operations.set(title="Updated by rows, V drops out", xlabel="vocabulary $V$", ylabel="flops per example")
    negatives.set(title="and the cost grows with k", xlabel="negatives $k$", ylabel="flops per example")
    memory.set(
        title="A table not donated is copied", xlabel="vocabulary $V$", ylabel="memory besides the tables (bytes)"
    )
    where.set(title="The full softmax wins below the line", xlabel="batch $B$", ylabel="vocabulary $V$")
    for ax in (operations, negatives, memory, where):
        ax.set(xscale="log", yscale="log")
        ax.legend(fontsize=6.5)
    return fig
