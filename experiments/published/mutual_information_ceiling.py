r"""Poole et al. 2019: InfoNCE as a bound on mutual information cannot exceed log K.

For pairs (x_i, y_i) and any critic f, log K + mean_i [f_ii - log sum_j e^f_ij] is at most log K in every batch, and at
most I(x; y) in expectation. Pairs of 20-dimensional normal vectors with correlation rho a coordinate have
I = -10 log(1 - rho^2) nats, and the best critic is log r = log p(y|x) / p(y), under which the bound's expectation is

    log K + I - E log S,   S = sum_j r(x, y_j),   E log S = int (e^(-e^u) - E e^(-S e^u)) du,

a product over the candidates given |x|: exact by quadrature. Without the positive in the sum the bound is one from
above, and has no ceiling. Refuted if a batch exceeds log K, if the optimal critic misses the exact expectation, or if
a trained critic is above it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._claim import Claim, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.published._normal_pairs import DIMENSION, correlation, expected_bound
from nsx import losses

CLAIM = Claim(
    statement="InfoNCE with K candidates bounds mutual information from below by at most log K: it flattens there "
    "however dependent the pairs are.",
    source="published: Poole et al. 2019, Figure 2; van den Oord et al. 2018",
    references=("poole2019variational", "oord2018representation"),
)
SIZES = {
    "quick": {"replicates": 256, "steps": 200},
    "full": {"replicates": 1024, "steps": 2000},
    "device": {"replicates": 65536, "steps": 20000},
}
INFORMATION = np.array([2.0, 4.0, 6.0, 8.0, 10.0])  # nats
BATCH = 64
COUNTS = np.array([16, 256])  # candidates, at the most dependent pairs
CEILING = 4.1589  # log 64


class Data(NamedTuple):
    """By batch (replicates first) and INFORMATION: mean log r, bound with the optimal critic, with a trained one, and
    with the positive left out of the sum; and by batch and COUNTS, with the optimal critic at 10 nats.
    """

    log_ratio: jax.Array
    optimal: jax.Array
    trained: jax.Array
    without: jax.Array
    by_count: jax.Array


def pairs(key, rho, batch):
    x, noise = jax.random.normal(key, (2, batch, DIMENSION))
    return x, rho * x + jnp.sqrt(1 - rho**2) * noise


def features(weights, x, y):
    """The critic x W y - q y^2 as a dot product; it holds the optimal one, up to a function of x."""
    matrix, square = weights
    return jnp.concatenate([x @ matrix, jnp.broadcast_to(-square, x.shape)], 1), jnp.concatenate([y, y**2], 1)


def best_weights(rho):
    return jnp.eye(DIMENSION) * rho / (1 - rho**2), jnp.full(DIMENSION, rho**2 / (1 - rho**2) / 2)


def bound(weights, x, y, sharpness=1.0):
    """log K - InfoNCE of the batch, by nsx's in-batch loss."""
    u, v = features(weights, x, y)
    return jnp.log(1.0 * len(x)) - jnp.mean(losses.in_batch_info_nce(u, v, temperature=1 / sharpness))


def bound_without_positive(weights, x, y):
    """The same with the positive left out of the sum, and K - 1 candidates."""
    u, v = features(weights, x, y)
    scores, others = u @ v.T, ~jnp.eye(len(x), dtype=bool)
    loss = losses.decoupled_info_nce(jnp.diag(scores), scores, temperature=1.0, where=others)
    return jnp.log(len(x) - 1.0) - jnp.mean(loss)


def train(keys, rho):
    """Critic trained by Adam on fresh batches, its rate falling to 0, from the critic that says nothing."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, len(keys)))
    start = jnp.zeros((DIMENSION, DIMENSION)), jnp.zeros(DIMENSION)

    def step(state, key):
        weights, moments = state
        x, y = pairs(key, rho, BATCH)
        gradient = jax.grad(lambda w: -bound(w, x, y))(weights)
        update, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(weights, update), moments), None

    return jax.lax.scan(step, (start, optimiser.init(start)), keys)[0][0]


def compute(key, *, replicates, steps, leave_out=False, tilt=1.0, sharpness=1.0, offset=0.0):
    """Wrong worlds: the positive left out; pairs less dependent than said (tilt); critic scaled; bound shifted."""
    world = {"leave_out": leave_out, "tilt": tilt, "sharpness": sharpness, "offset": offset}
    return simulate(key, world, replicates=replicates, steps=steps)


@partial(jax.jit, static_argnames=("replicates", "steps"))
def simulate(key, world, *, replicates, steps):
    train_key, test_key, *count_keys = jax.random.split(key, 2 + len(COUNTS))
    rhos = jnp.asarray(correlation(INFORMATION))
    trained = jax.vmap(train, (1, 0))(jax.random.split(train_key, (steps, len(rhos))), rhos)

    def measure(weights, x, y):
        out = bound_without_positive(weights, x, y)
        return jnp.where(world["leave_out"], out, bound(weights, x, y, world["sharpness"]) + world["offset"]), out

    def test(key, rho, learnt):
        x, y = pairs(key, rho * world["tilt"], BATCH)
        far, near = jnp.sum((y - rho * x) ** 2, 1) / (1 - rho**2), jnp.sum(y**2, 1)
        log_ratio = -DIMENSION / 2 * jnp.log1p(-(rho**2)) + (near - far) / 2
        optimal, without = measure(best_weights(rho), x, y)
        return jnp.mean(log_ratio), optimal, measure(learnt, x, y)[0], without

    def counted(key, batch):
        x, y = pairs(key, rhos[-1] * world["tilt"], batch)
        return measure(best_weights(rhos[-1]), x, y)[0]

    keys = jax.random.split(test_key, (replicates, len(rhos)))
    tests = over_devices(lambda k: jax.vmap(test)(k, rhos, trained), keys, batch_size=16)
    by_count = [
        over_devices(lambda k, b=int(b): counted(k, b), jax.random.split(k, replicates), batch_size=16)
        for k, b in zip(count_keys, COUNTS, strict=True)
    ]
    return Data(*tests, jnp.stack(by_count, axis=1))


def verdict(data):
    eps = np.finfo(data.optimal.dtype).eps
    exact = np.array([expected_bound(i, BATCH) for i in INFORMATION])
    by_count = np.array([expected_bound(INFORMATION[-1], int(k)) for k in COUNTS])
    rounding = 64 * eps * INFORMATION[-1] * DIMENSION  # scores are sums of 40 products of order 10
    margin = lambda values: student_margin(values, alarm=1e-6 / values.shape[1])
    learnt, out = data.trained.mean(axis=0), data.without.mean(axis=0)
    return (
        mean_is("mean log r = -10 log(1 - rho^2)", INFORMATION, data.log_ratio),
        at_most("optimal critic: bound - log K, of any batch", 0, data.optimal - np.log(BATCH), rounding),
        at_most("trained critic: bound - log K, of any batch", 0, data.trained - np.log(BATCH), rounding),
        mean_is("optimal critic: bound = exact expectation", exact, data.optimal),
        at_most("optimal critic: bound - I", 0, data.optimal.mean(axis=0) - INFORMATION - margin(data.optimal)),
        at_most("trained critic: bound - the optimal one's", 0, learnt - exact - margin(data.trained)),
        at_least("trained critic: bound rises with I", 0, np.diff(learnt)),
        close("at 10 nats: what the bound reports", CEILING, data.optimal[:, -1].mean(), reach(data, exact)),
        mean_is("at 10 nats, by K: exact expectation", by_count, data.by_count),
        at_least("without the positive: bound - I", 0, out - INFORMATION + margin(data.without)),
        at_least("and at 10 nats it is above log K", np.log(BATCH), out[-1] - margin(data.without)[-1]),
    )


def reach(data, exact):
    """How far below log K the bound is at 10 nats: exact, and half a printed digit."""
    return np.log(BATCH) - exact[-1] + student_margin(data.optimal[:, -1]) + 5e-5


def controls(key, data, *, replicates, steps):
    world = partial(compute, key, **SIZES["quick"])
    return {
        "the positive left out of the sum": world(leave_out=True),
        "pairs less dependent than said": world(tilt=0.7),
        "a critic twice too sharp": world(sharpness=2.0),
        "log K for the mean over K - 1, half a nat too much": world(offset=0.5),
        "the dependence read backwards": data._replace(trained=data.trained[:, ::-1], without=data.optimal),
    }


def plot(data):
    fig, (information, candidates) = panels(2, width=4.4, height=3.5)
    fine = np.linspace(0.25, 10, 24)
    information.plot(fine, fine, color="0.6", linestyle=":", label="mutual information")
    information.axhline(np.log(BATCH), color="0.3", linewidth=0.9)
    information.text(0.2, np.log(BATCH) + 0.15, r"$\log 64$", fontsize=8)
    hollow = {"linestyle": "none", "marker": "s", "markersize": 8, "markerfacecolor": "none"}
    for values, label, style in (
        (data.without, "positive left out of the sum", {}),
        (data.optimal, "optimal critic", {}),
        (data.trained, "trained critic", hollow),
    ):
        band = None if style else student_margin(values)
        measured(information, INFORMATION, values.mean(axis=0), band=band, label=label, **style)
    theory(information, fine, [expected_bound(float(i), BATCH) for i in fine], label="exact expectation")
    information.set(xlabel="mutual information (nats)", ylabel="reported (nats)", ylim=(0, 11))
    information.set_title("InfoNCE flattens at log K")
    grid = np.unique(np.geomspace(2, 1e6, 24).astype(int))
    theory(candidates, grid, [expected_bound(INFORMATION[-1], int(k)) for k in grid], label="exact expectation")
    values, counts = np.column_stack([data.by_count, data.optimal[:, -1]]), [*COUNTS, BATCH]
    band = student_margin(values)
    candidates.errorbar(counts, values.mean(axis=0), band, fmt="o", markersize=4, label="optimal critic")
    candidates.plot(grid, np.minimum(np.log(grid), 10), color="0.3", linewidth=0.9, label=r"$\min(\log K, I)$")
    candidates.set(xscale="log", xlabel="candidates $K$", ylabel="reported (nats)")
    candidates.set_title("To see 10 nats takes far over $e^{10}$ candidates")
    for ax, place in ((information, "upper left"), (candidates, "lower right")):
        ax.legend(fontsize=7, loc=place)
    return fig
