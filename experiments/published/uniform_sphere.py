r"""Wang & Isola 2020: the least uniformity loss of the sphere, in closed form.

For independent points of the uniform law on the unit sphere of R^d,

    log E exp(-t |x - y|^2) = -2 t + log [ Gamma(d/2) t^(1 - d/2) I_{d/2-1}(2 t) ],

which tends to -2 t as d grows: at t = 2, -1.5750 (d = 2), -2.0798 (3), -3.5130 (16), -3.8752 (64), -3.9375 (128). The
mean over pairs of exp(-t |x - y|^2), that is exp(uniformity), is unbiased for its expectation at any number of
points; its logarithm is not. Laws that are not uniform lie above. Refuted if the mean over replicates misses the
closed form, or if a law on the sphere lies below it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_least, close, mean_is, student_margin
from experiments._style import measured, panels, theory
from nsx import losses

CLAIM = Claim(
    statement="Uniformly spread embeddings reach the least uniformity loss, "
    "-2t + log[Gamma(d/2) t^(1-d/2) I_{d/2-1}(2t)].",
    source="published: Wang & Isola 2020",
    references=("wang2020understanding",),
)
SIZES = {
    "quick": {"points": 64, "replicates": 64},
    "full": {"points": 512, "replicates": 256},
    "device": {"points": 4096, "replicates": 1024},
}
DIMENSIONS = (2, 3, 16, 64, 128)
KNOWN = np.array([-1.5750, -2.0798, -3.5130, -3.8752, -3.9375])
SPREADS = np.array([0.0, 0.25, 0.5, 1.0, 2.0])  # length of the drift that pulls the points to a pole
TEMPERATURE = 2.0


class Data(NamedTuple):
    """Uniformity by replicate and dimension, (r, 5); by replicate and drift at d = 16, (r, 5)."""

    uniform: jax.Array
    drifting: jax.Array


def on_sphere(key, points, dimension, drift):
    """Normal points around a drift, pushed out to the sphere: uniform where the drift is 0."""
    x = jax.random.normal(key, (points, dimension)).at[:, 0].add(drift * jnp.sqrt(1.0 * dimension))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@partial(jax.jit, static_argnames=("points", "replicates"))
def compute(key, *, points, replicates, temperature=TEMPERATURE, drift=0.0):
    def loss(key, dimension, drift):
        return losses.uniformity(on_sphere(key, points, dimension, drift), temperature=temperature)

    uniform_key, drift_key = jax.random.split(key)
    keys = jax.random.split(uniform_key, (len(DIMENSIONS), replicates))
    uniform = [jax.vmap(lambda k, d=d: loss(k, d, drift))(ks) for d, ks in zip(DIMENSIONS, keys, strict=True)]
    keys = jax.random.split(drift_key, (replicates, len(SPREADS)))
    drifting = jax.vmap(jax.vmap(lambda k, s: loss(k, 16, s), (0, 0)), (0, None))(keys, jnp.asarray(SPREADS))
    return Data(jnp.stack(uniform, axis=1), drifting)


def closed_form(dimension, t=TEMPERATURE):
    """The least loss; the Bessel function is scaled by e^-2t, so nothing overflows."""
    from scipy.special import gammaln, ive

    d = np.asarray(dimension, float)
    return gammaln(d / 2) + (1 - d / 2) * np.log(t) + np.log(ive(d / 2 - 1, 2 * t))


def verdict(data):
    law = closed_form(DIMENSIONS)
    lift = data.drifting[:, 1:] - closed_form(16)
    return (
        mean_is("pair mean over its closed form, by dimension", 1, np.exp(data.uniform - law)),
        close("closed form as printed, by dimension", KNOWN, np.log(np.exp(data.uniform).mean(axis=0)), reach(data)),
        at_least("laws that drift to a pole lie above the least loss", 0, lift.mean(axis=0) - student_margin(lift)),
        at_least("and the more they drift the higher", 0, np.diff(data.drifting.mean(axis=0))),
    )


def reach(data):
    """Student's margin of the log of a mean, and half a unit of the last printed digit."""
    pairs = np.exp(data.uniform)
    return student_margin(pairs) / pairs.mean(axis=0) + 5e-5


def controls(key, data, *, points, replicates):
    run = partial(compute, key, points=points, replicates=min(replicates, 64))
    return {
        "temperature 1 read as 2": run(temperature=1.0),
        "points that drift to a pole": run(drift=0.5),
        "the drift read backwards": data._replace(drifting=data.drifting[:, ::-1]),
    }


def plot(data):
    fig, (spread, drift) = panels(2)
    grid = np.arange(2, 200)
    theory(spread, grid, closed_form(grid), label="closed form")
    mean = np.log(np.exp(data.uniform).mean(axis=0))
    measured(spread, DIMENSIONS, mean, band=reach(data), linestyle="", label="uniform points")
    spread.axhline(-2 * TEMPERATURE, color="#999999", linewidth=0.8, linestyle=":", label=r"$-2t$")
    spread.set(
        title="The least loss of the sphere", xscale="log", xlabel="dimension d", ylabel="uniformity loss (nats)"
    )
    spread.legend()
    measured(drift, SPREADS, data.drifting.mean(axis=0), band=student_margin(data.drifting), label="d = 16")
    theory(drift, SPREADS, np.full(len(SPREADS), closed_form(16)), label="uniform, closed form")
    drift.set(title="Any other law lies above", xlabel="drift to a pole", ylabel="uniformity loss (nats)")
    drift.legend()
    return fig
