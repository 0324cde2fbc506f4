r"""The alias method draws in constant time from a huge noise law.

Counted, not timed, so that any machine finds the same. One draw takes two random words, two look-ups and a comparison
whatever the number N of candidates; a binary search of the running sums takes one look-up a level, 1 + log2 N of them;
a Gumbel race touches all N. The table's law is exact: slots hold whole units of 2^-32 / S, so

    |q_hat_i - q_i| <= 2^-32 / S + O(1e-15) q_i,

candidates of mass 0 have none, and those of mass 1e-9 theirs. A running sum in float32 loses rare candidates outright.
Refuted if an operation of the alias draw grows with N, if the table's law misses q beyond that, if the draws fail
a chi-square test at a false-alarm rate of 1e-6, or if one key gives other bits than those written here.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import FALSE_ALARM, Claim, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast._draw_costs import ALIAS, NUMBERS, alias, costs, implied, race, search
from nsx import samplers

CLAIM = Claim(
    statement="The alias method draws negatives in constant time, however many candidates the noise law has, and "
    "without approximation.",
    source="001, the engineering reality",
    references=("walker1977efficient", "vose1991linear"),
)
SIZES = {
    "quick": {"draws": 200_000, "raced": 20_000, "largest": 2**17},
    "full": {"draws": 4_000_000, "raced": 200_000, "largest": 2**22},
    "device": {"draws": 100_000_000, "raced": 2_000_000, "largest": 2**24},
}
DRAWN = 600  # candidates of the law that is drawn from: Zipf, with one of mass 1e-9 and 100 of mass 0
RARE, ABSENT = 250, np.arange(300, 400)
BITS = (0, 0, 60, 3, 544, 0, 28, 647)  # of eight draws with key 0
NAMES = "alias", "binary search", "Gumbel race"


class Data(NamedTuple):
    """By NUMBERS, a draw: `flops` and `fresh` bytes of memory of alias and race; `lookups` of alias and search. By law:
    slots, largest error, and candidates lost, of the table and of a running sum in float32; probability of the rare
    and the absent. `counts` (3, DRAWN) of the draws, and `bits` of eight draws three times over (3, 8). `spectrum`:
    ranks of the largest law, and relative errors there of the table and of the running sum (3, ranks).
    """

    flops: np.ndarray
    fresh: np.ndarray
    lookups: np.ndarray
    slots: np.ndarray
    error: np.ndarray
    lost: np.ndarray
    lost_by_sum: np.ndarray
    rare: np.ndarray
    absent: np.ndarray
    counts: np.ndarray
    bits: np.ndarray
    spectrum: np.ndarray


def zipf(size):
    mass = 1 / np.arange(1.0, size + 1)
    return mass / mass.sum()


def drawn_law():
    law = zipf(DRAWN)
    law[ABSENT] = 0
    law[RARE] = 0
    return np.where(np.arange(DRAWN) == RARE, 1e-9, law * (1 - 1e-9) / law.sum())


def laws(largest):
    rng = np.random.default_rng(0)
    return drawn_law(), np.full(1000, 1e-3), zipf(largest), rng.dirichlet(np.full(2000, 0.05))


def log(law):
    with np.errstate(divide="ignore"):
        return np.log(law)


def exactness(largest, floor):
    """Slots, error and lost candidates of each law, the latter also for a running sum in float32."""
    rows, found = [], []
    for law in laws(largest):
        got, slots = implied(samplers.alias_table(log(law + floor)))
        by_sum = np.diff(np.cumsum(law.astype(np.float32), dtype=np.float32), prepend=np.float32(0))
        kept = law * slots * 2.0**32 > 1
        rows.append((slots, np.max(np.abs(got[: len(law)] - law)), np.sum(kept & (got[: len(law)] <= 0))))
        rows[-1] += (np.sum(kept & (by_sum <= 0)),)
        found.append((law, got, by_sum))
    return np.array(rows, float).T, found


def draw_counts(keys, weights, draws, raced):
    """How often each candidate is drawn by each sampler."""
    sums = jnp.cumsum(jnp.exp(weights - jax.nn.logsumexp(weights)))
    by_search = jnp.searchsorted(sums / sums[-1], jax.random.uniform(keys[1], (draws,)), side="right")
    by_race = over_devices(
        lambda k: jax.random.categorical(k, weights, shape=(1000,)), jax.random.split(keys[2], raced // 1000)
    )
    drawn = samplers.draw_alias(keys[0], samplers.alias_table(weights), draws), by_search, by_race.ravel()
    return np.array([np.bincount(np.asarray(ids), minlength=DRAWN)[:DRAWN] for ids in drawn])


def compute(key, *, draws, raced, largest, floor=0.0, tilt=1.0, programs=(alias, search, race), seed=0):
    """Wrong worlds: a floor added to every mass; draws from law^tilt; other programs; another key for the bits."""
    flops, fresh, lookups = costs(programs)
    rows, found = exactness(largest, floor)
    law, got, _ = found[0]
    table = samplers.alias_table(log(zipf(1000)))
    draw = partial(samplers.draw_alias, shape=8)
    bits = draw(jax.random.key(seed), table), jax.jit(draw)(jax.random.key(seed), table)
    with jax.enable_x64(not jax.config.jax_enable_x64):
        bits += (draw(jax.random.key(seed), samplers.alias_table(log(zipf(1000)))),)
    weights = jnp.asarray(log(law + floor) * tilt)
    counts = draw_counts(jax.random.split(key, 3), weights, draws, raced)
    big, _, by_sum = found[2]
    place = np.unique(np.geomspace(1, largest, 60).astype(int)) - 1
    ratio = np.stack([found[2][1][: len(big)], by_sum])[:, place] / big[place] - 1
    return Data(
        flops,
        fresh,
        lookups,
        *rows,
        got[RARE],
        got[ABSENT].sum(),
        counts,
        np.array([*map(np.asarray, bits)]),
        np.vstack([place + 1, ratio]),
    )


def chi_square(counts):
    """Statistic over the candidates expected at least ten times, the rest together, and its upper quantile."""
    from scipy.special import chdtri

    law = drawn_law()
    expected = law * counts.sum()
    often = expected >= 10
    pool = lambda x: np.append(x[often], x[~often].sum())
    observed, wanted = pool(counts), pool(expected)
    return np.sum((observed - wanted) ** 2 / wanted), chdtri(often.sum(), FALSE_ALARM)


def slope(y):
    return np.diff(np.log(y)) / np.diff(np.log(NUMBERS))


def verdict(data):
    resolution = 2.0**-32 / data.slots
    statistics = [chi_square(c) for c in data.counts]
    tests = tuple(
        at_most(f"{name}: chi-square of the draws / its quantile", 1, s / q)
        for name, (s, q) in zip(NAMES, statistics, strict=True)
    )
    return (
        close("alias: slope of flops a draw in N", 0, slope(data.flops[ALIAS]), 0),
        close("alias: slope of memory a draw in N", 0, slope(data.fresh[ALIAS]), 0),
        close("alias: look-ups a draw", 2, data.lookups[ALIAS], 0),
        close("binary search: look-ups a draw", np.log2(NUMBERS) + 1, data.lookups[1], 0),
        close("Gumbel race: slope of flops a draw in N", 1, slope(data.flops[1]), 2 / NUMBERS[0]),
        at_most("table: error of a probability / resolution", 1, data.error / (resolution + 4e-15)),
        close("table: probability at mass 1e-9", 1e-9, data.rare, resolution[0]),
        close("table: probability at mass 0", 0, data.absent, 0),
        close("table: candidates lost", 0, data.lost, 0),
        at_least("running sum in float32: candidates lost", 1, data.lost_by_sum.max()),
        close("draws of mass 0", 0, data.counts[:, ABSENT].sum(axis=1), 0),
        *tests,
        close("bits of key 0: plain, compiled, other precision", BITS, data.bits, 0),
    )


def controls(key, data, **size):
    world = partial(compute, key, **SIZES["quick"])
    return {
        "a search and a race in each other's place, and in the alias method's": world(programs=(search, race, alias)),
        "1e-5 added to every mass": world(floor=1e-5),
        "draws from another law": world(tilt=0.9),
        "another key": world(seed=1),
        "a table made of a running sum in float32": data._replace(lost=data.lost_by_sum, lost_by_sum=data.lost),
    }


def plot(data):
    fig, ((operations, looks), (errors, draws)) = panels(2, 2, width=4.2, height=3.1)
    for row, (name, colour) in enumerate((("alias", "C0"), ("Gumbel race", "C2"))):
        measured(operations, NUMBERS, data.flops[row], label=name, color=colour)
    operations.set(xscale="log", yscale="log", xlabel="candidates $N$", ylabel="operations a draw")
    operations.set_title("Two table look-ups, whatever $N$, or a race of all")
    for row, (name, colour) in enumerate((("alias", "C0"), ("binary search", "C1"))):
        measured(looks, NUMBERS, data.lookups[row], label=name, color=colour, linestyle="none")
    theory(looks, NUMBERS, np.log2(NUMBERS) + 1, label=r"$1 + \log_2 N$ and 2")
    theory(looks, NUMBERS, np.full(len(NUMBERS), 2))
    looks.set(xscale="log", ylim=(0, None), xlabel="candidates $N$", ylabel="look-ups a draw")
    looks.set_title("A search looks once a level")
    rank, *relative = data.spectrum
    for values, name, colour in zip(relative, ("alias table", "running sum, float32"), ("C0", "C3"), strict=True):
        measured(errors, rank, np.maximum(np.abs(values), 1e-17), label=name, color=colour, markersize=3)
    theory(errors, rank, 2.0**-32 / data.slots[2] * rank * np.log(rank[-1] * 1.781), label="one unit of the table")
    errors.set(xscale="log", yscale="log", xlabel="rank in a Zipf law", ylabel="relative error of a probability")
    errors.set_title("The table is exact, a float32 sum is not")
    law = drawn_law()
    often = law * data.counts[ALIAS].sum() >= 10
    residual = (data.counts[ALIAS] - law * data.counts[ALIAS].sum())[often]
    residual /= np.sqrt(law * data.counts[ALIAS].sum())[often]
    theory(draws, grid := np.linspace(-4, 4, 100), np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), label="standard normal")
    draws.hist(residual, bins=np.linspace(-4, 4, 25), density=True, alpha=0.5, label="alias, by candidate")
    draws.set(xlabel="(drawn - expected) / sqrt(expected)", ylabel="density", title="The draws follow the law")
    for ax in (operations, looks, errors, draws):
        ax.legend(fontsize=7)
    return fig
