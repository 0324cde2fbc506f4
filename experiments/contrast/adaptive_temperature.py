r"""Temperature can be scheduled to hold a desired difficulty, measured as the entropy of the negatives' weights.

H(tau) rises strictly from log m to log n (m ties at the top), so H(tau) = H* has one root for H* between them, and
dtau/ds_i = p_i (z_i - E z) / Var(z), z = s / tau. A damped Newton step in log tau with rate r leaves 1 - r of the
error, so during training |H - H*| lags by about drift (1 - r) / r, the drift being what one step of training does to
H at fixed tau. Refuted if the solver misses a reachable entropy, if its derivative differs from finite
differences, if an unreachable target gives a temperature, or if H leaves the band.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import legends, measured, panels, theory
from experiments.contrast._held_entropy import BURN, FIXED, RATES, TARGET, training
from nsx import entropy

CLAIM = Claim(
    statement="The model can adjust tau on the fly to hold a desired level of difficulty.",
    source="001, tuning the difficulty",
    references=("haarnoja2018soft", "maaten2008visualizing", "wang2021understanding"),
)
SIZES = {
    "quick": {"replicates": 2, "steps": 120, "rows": 64},
    "full": {"replicates": 4, "steps": 360, "rows": 512},
    "device": {"replicates": 256, "steps": 2000, "rows": 65536},
}
COUNT = 64  # scores of a row for the solver
SHARES = np.array([0.003, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.997])  # of the way from log m to log n


class Data(NamedTuple):
    """Solver: target and reached entropy (rows, shares); derivative along a direction by autodiff and by central
    differences with a step and half of it, (rows, shares); whether each impossible target was refused (cases,).
    Training, all (replicates, ...): entropy at a fixed tau (steps,); with the controller at each of RATES
    (rates, steps), entropy `before` and `after` its update and how far it may be from linear in the update; per
    anchor, the largest |H - H*| (steps,); the spread over anchors, controller at rate 1/2 and per anchor (2, steps).
    """

    target: jax.Array
    reached: jax.Array
    auto: jax.Array
    coarse: jax.Array
    fine: jax.Array
    noise: jax.Array
    refused: jax.Array
    fixed: jax.Array
    before: jax.Array
    after: jax.Array
    remainder: jax.Array
    each: jax.Array
    spread: jax.Array


@partial(jax.jit, static_argnames=("rows", "solve"))
def solver(key, rows, solve):
    """How well the solver hits its target, and its derivative against finite differences."""
    scores_key, direction_key, tie_key = jax.random.split(key, 3)
    scores = jax.random.normal(scores_key, (rows, COUNT))
    ties = jax.random.randint(tie_key, (rows, 1), 1, 5)  # 1 to 4 equal maxima
    scores = jnp.where(jnp.arange(COUNT) < ties, 3.5, scores)
    low, high = jnp.log(ties[:, 0].astype(scores.dtype)), np.log(COUNT)
    direction = jax.random.normal(direction_key, (rows, COUNT)) * (jnp.arange(COUNT) >= 4)
    small = jnp.finfo(scores.dtype).eps ** (1 / 3)

    def at(share):
        target = low + share * (high - low)
        tau, auto = jax.jvp(lambda s: solve(s, target), (scores,), (direction,))
        step = small * tau
        shifts = jnp.asarray([1.0, -1.0, 0.5, -0.5])[:, None, None] * step[:, None]
        moved = jax.vmap(lambda shift: solve(scores + shift * direction, target))(shifts)
        coarse, fine = (moved[0] - moved[1]) / (2 * step), (moved[2] - moved[3]) / step
        capacity = entropy.heat_capacity(scores, tau)
        noise = (tau * target / capacity + capacity**-0.5) / step  # of differences, by the rounding of H and s
        return target, entropy.entropy(scores, tau), auto, coarse, fine, noise

    return tuple(jnp.swapaxes(x, 0, 1) for x in over_devices(at, jnp.asarray(SHARES)))


@partial(jax.jit, static_argnames=("solve",))
def jitted(scores, target, solve):
    return jax.vmap(solve)(scores, target)


def refusals(solve):
    """1 where a target that no temperature reaches is refused by name, concrete and traced."""
    scores = jnp.asarray([0.0, 0.0, -1.0, -2.0])
    cases = [(scores, t) for t in (-0.1, 0.0, np.log(2), np.log(4), 2.0)] + [(jnp.zeros(4), 1.0)]
    told = []
    for s, target in cases:
        try:
            solve(s, target)
            told.append(0)
        except ValueError as error:
            told.append(int("target must lie in" in str(error) or "scores are all equal" in str(error)))
    traced = jitted(jnp.stack([s for s, _ in cases]), jnp.asarray([t for _, t in cases]), solve)
    return jnp.concatenate([jnp.asarray(told), jnp.isnan(traced).astype(int)])


def compute(key, *, replicates, steps, rows, solve=entropy.temperature_for_entropy, **world):
    """Wrong worlds: another solver; no learning; a controller slower than said; one temperature for all anchors."""
    world = {"learning": 1.0, "slower": 1.0, "shared": False} | world
    solver_key, key = jax.random.split(key)
    return Data(*solver(solver_key, rows, solve), refusals(solve), *training(key, world, replicates, steps))


def bands(data):
    """|H - H*| after step BURN, and its bound, (replicates, rates, steps).

    The error obeys e' = (1 - r) (e - drift) + q, where |q| is at most half the curvature times the step squared.
    """
    rounding, keep = 64 * np.finfo(data.after.dtype).eps * TARGET, (1 - RATES)[:, None]
    error = np.abs(data.after - TARGET)[..., BURN:]
    drift = np.abs(data.before[..., 1:] - data.after[..., :-1])[..., BURN - 1 :]
    rest = data.remainder[..., BURN:] + rounding
    band = [error[..., 0]]
    for t in range(1, error.shape[-1]):
        band.append(keep[:, 0] * (band[-1] + drift[..., t]) + rest[..., t])
    return error[..., 1:], np.stack(band[1:], axis=-1)


def verdict(data):
    eps = np.finfo(data.reached.dtype).eps
    precise = np.maximum(2 * eps * (2 + np.maximum(1, -np.log(data.target))), 1e-12)  # as the solver documents
    truncation = np.abs(data.fine - data.coarse)
    error, band = bands(data)
    wander = np.ptp(data.fixed[:, BURN:], axis=1)
    solved = 1e-6 * TARGET if eps > 1e-10 else 1e-12 * TARGET
    return (
        at_its_word(close("entropy held in training, within the band", 0, error, band)),
        close("solver: H at the solution = H*", data.target, data.reached, precise * data.target),
        close(
            "solver: d tau / d s, autodiff = differences",
            (4 * data.fine - data.coarse) / 3,
            data.auto,
            truncation + 4 * precise * data.noise,
        ),
        at_least("targets that no temperature reaches are refused", 1, data.refused),
        at_least("a fixed temperature wanders farther than the slowest band", 0, wander - band.max(axis=(1, 2))),
        at_most("per anchor: largest |H - H*| in training", 0, data.each, solved),
        at_least("spread of H over the anchors: pooled less per anchor", solved, data.spread[:, 0] - data.spread[:, 1]),
    )


def guess(scores, target):
    """The temperature of Gaussian scores with this entropy, by their variance, and without derivative."""
    missing = jnp.log(float(scores.shape[-1])) - target
    return jax.lax.stop_gradient(jnp.sqrt(jnp.var(scores, axis=-1) / (2 * jnp.abs(missing) + 1e-3)))


def controls(key, data, *, replicates, steps, rows):
    run = partial(compute, key, replicates=2, steps=120, rows=64)
    return {
        "a Gaussian guess for the solver": run(solve=guess),
        "no learning": run(learning=0.0),
        "a controller of a fifth of the rate said": run(slower=0.2),
        "one temperature for all anchors": run(shared=True),
    }


def plot(data):
    fig, ((solver, held), (lag, spread)) = panels(2, 2)
    step = np.arange(data.fixed.shape[1])
    error = np.abs(data.reached / data.target - 1)
    order = np.argsort(data.target.ravel())
    measured(
        solver,
        data.target.ravel()[order],
        np.maximum(error.ravel()[order], 1e-17),
        label="solved (0 at the bottom)",
        linestyle="none",
        markersize=2,
        rasterized=True,
    )
    theory(solver, [0.01, 4.2], [1e-12, 1e-12], label="documented bound")
    solver.set(
        title="Any reachable entropy is hit",
        xlabel="target $H^*$ (nats)",
        ylabel="$|H / H^* - 1|$",
        yscale="log",
        ylim=(1e-17, 1e-10),
    )
    measured(held, step, data.fixed[0], label=f"fixed at {FIXED}", marker="none")
    for i, rate in enumerate(RATES[:3]):
        measured(held, step, data.after[0, i], label=f"controller, rate {rate:g}", marker="none")
    theory(held, step, np.full(len(step), TARGET), label="target")
    held.set(title="Held, while a fixed one drifts", xlabel="training step", ylabel="mean entropy (nats)")
    error, band = bands(data)
    for row in range(len(error)):
        measured(
            lag,
            RATES,
            error[row].max(axis=-1),
            label=f"largest error after {BURN} steps" if row == 0 else None,
            linestyle="none",
            color="C0",
        )
    theory(lag, RATES, band.max(axis=-1).mean(axis=0), label=r"drift $(1-r)/r$ + remainder")
    lag.set(
        title="The lag is the drift over the rate",
        xlabel="rate $r$",
        ylabel="$|H - H^*|$ (nats)",
        xscale="log",
        yscale="log",
    )
    for i, label in enumerate(("one temperature for all", "one per anchor")):
        measured(spread, step, np.maximum(data.spread[0, i], 1e-17), label=label, marker="none")
    spread.set(
        title="One for all holds only the mean",
        xlabel="training step",
        ylabel="sd of $H$ over anchors (nats)",
        yscale="log",
    )
    legends(solver, held, lag, spread)
    return fig
