r"""Mescheder, Geiger & Nowozin 2018: which training methods converge on the Dirac-GAN, and at what rate.

The generator places one point theta against a datum at 0, the critic is D(x) = psi x, and with f(t) = -log(1 + e^-t)
they play f(theta psi). At rest the flow has eigenvalues +- i f'(0) (no penalty, also non-saturating), -g/2 +-
sqrt(g^2/4 - f'(0)^2) (R1 or R2), f'' s^2 +- sqrt(f''^2 s^4 - f'^2) (instance noise), -g f'^2 +- i f' (consensus,
and symplectic adjustment).
On the bilinear game x y the rules have multipliers of modulus sqrt(1 + e^2) (simultaneous), 1 (alternating, e <= 2),
(1 + e^2)^(-1/2) (implicit), sqrt(1 - e^2 + e^4) (extragradient), roots of m^2 - (1 +- 2ie) m +- ie (optimistic).
Refuted if an eigenvalue is off by 1e-6, or a norm after 500 steps by half a unit of its last digit. One line needs a
word: non-saturating steps do not spiral in for ever; they settle on a cycle, theta^2 + psi^2 = 2 h for small steps.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_least, close
from experiments._style import measured, panels, theory
from experiments.published._dirac import log_sigmoid_game, methods, path
from nsx import games

CLAIM = Claim(
    statement="On the Dirac-GAN and the bilinear game every training method has the eigenvalues of theory, "
    "and 500 steps of it end where they say.",
    source="published: Mescheder, Geiger & Nowozin 2018",
    references=("mescheder2018which", "mescheder2017numerics", "daskalakis2018training", "gidel2019variational"),
)
SIZES = {
    "quick": {"cycle_steps": 8000, "bilinear": 25},
    "full": {"cycle_steps": 8000, "bilinear": 97},
    "device": {"cycle_steps": 8000, "bilinear": 385},
}
STEPS, STEP_SIZE = 500, 0.2
FLOWS = {  # eigenvalue above the axis or on it, and its partner
    "none": (0.5j, -0.5j),
    "non-saturating": (0.5j, -0.5j),
    "R1, 0.3": (-0.15 + 0.5j * np.sqrt(0.91), -0.15 - 0.5j * np.sqrt(0.91)),
    "R1, 1": (-0.5, -0.5),
    "R1, 2": (-1 + np.sqrt(0.75), -1 - np.sqrt(0.75)),
    "noise, 0.7": (-0.1225 + 1j * np.sqrt(0.25 - 0.1225**2), -0.1225 - 1j * np.sqrt(0.25 - 0.1225**2)),
    "noise, 1": (-0.25 + 0.25j * np.sqrt(3), -0.25 - 0.25j * np.sqrt(3)),
    "consensus, 1": (-0.25 + 0.5j, -0.25 - 0.5j),
    "symplectic, 2": (-0.5 + 0.5j, -0.5 - 0.5j),
}
NORMS = {  # after 500 steps, with half a unit of the last digit printed
    "none": (3.0969, 5e-5),
    "non-saturating": (0.6402, 5e-5),
    "WGAN, clip 1": (1.0022, 5e-5),
    "WGAN-GP, 0.7": (1.8018, 5e-5),
    "R1, 0.3": (2.6e-6, 5e-8),
    "R1, 1": (9.5e-22, 5e-24),
    "noise, 0.7": (5.7e-5, 5e-7),
    "consensus, 1": (2.6e-10, 5e-12),
}
RULES = {
    "simultaneous": (games.simultaneous, lambda e: np.sqrt(1 + e**2)),
    "alternating": (games.alternating, np.ones_like),  # up to a step of 2
    "implicit": (games.implicit, lambda e: 1 / np.sqrt(1 + e**2)),
    "extragradient": (games.extragradient, lambda e: np.sqrt(1 - e**2 + e**4)),
    "optimistic": (
        games.optimistic,
        lambda e: np.max([abs(np.roots([1, -(1 + 2j * x), 1j * x])) for x in np.ravel(e)], axis=1),
    ),
}
LIMITS = {"alternating": 2.0, "extragradient": 1.0, "optimistic": 1 / np.sqrt(3)}
BEST = {"extragradient": (np.sqrt(0.5), np.sqrt(0.75)), "optimistic": (0.5, np.sqrt(0.5))}  # step, radius
CYCLE_STEPS = np.array([0.4, 0.2, 0.1])


class Data(NamedTuple):
    """Eigenvalues by method (9, 2); paths of the norm (8, steps); radii over `sizes` by rule (5, sizes), at a step of
    2.1 of the alternating rule, and at the best steps (2,); the largest stable steps (3,); mean of theta^2 + psi^2 on
    the cycle over 2 h (3,).
    """

    eigenvalues: jax.Array
    paths: jax.Array
    sizes: jax.Array
    radii: jax.Array
    beyond: jax.Array
    best: jax.Array
    limits: jax.Array
    cycle: jax.Array


def compute(key, *, step_size=STEP_SIZE, scale=1.0, turn=1.0, **size):
    """Wrong worlds: another step size; penalties scaled; a bilinear game that turns faster."""
    return play(jnp.asarray([step_size, scale, turn]), **size)


@partial(jax.jit, static_argnames=("cycle_steps", "bilinear"))
def play(mechanism, *, cycle_steps, bilinear):
    step_size, scale, turn = mechanism
    origin = (jnp.zeros(()), jnp.zeros(()))
    updates = methods(step_size, scale)
    eigenvalues = [(games.update_spectrum(updates[m], origin) - 1) / step_size for m in FLOWS]
    paths = [path(updates[m], STEPS) for m in NORMS]
    field = games.vector_field((lambda p: turn * p[0] * p[1], lambda p: -turn * p[0] * p[1]))
    sizes = jnp.linspace(0.05, 1.25, bilinear)
    radius = lambda make, e: games.spectral_radius(make(field, step_size=e), origin)
    radii = [jax.vmap(partial(radius, make))(sizes) for make, _ in RULES.values()]
    limit = lambda make: games.largest_stable_step(lambda e: make(field, step_size=e), origin, low=0.05, high=3.0)
    window = jnp.hanning(cycle_steps // 2)
    squares = lambda h: path(games.simultaneous(log_sigmoid_game(-1.0), step_size=h), cycle_steps)[-len(window) :] ** 2
    mean = jax.vmap(lambda h: squares(h) @ window / jnp.sum(window))(CYCLE_STEPS * step_size / STEP_SIZE)
    return Data(
        jnp.stack(eigenvalues),
        jnp.stack(paths),
        sizes,
        jnp.stack(radii),
        radius(games.alternating, jnp.asarray(2.1)),
        jnp.stack([radius(RULES[name][0], jnp.asarray(e)) for name, (e, _) in BEST.items()]),
        jnp.stack([limit(RULES[name][0]) for name in LIMITS]),
        mean / (2 * CYCLE_STEPS),
    )


def sorted_pair(values):
    """By imaginary part, or by real part where there is none."""
    values = np.asarray(values)
    order = np.argsort(-values.imag - 1e-3 * values.real, axis=-1)
    return np.take_along_axis(values, order, axis=-1)


def verdict(data):
    eps = np.finfo(data.paths.dtype).eps
    exact = max(1e-6, 8 * np.sqrt(eps) / STEP_SIZE)  # a double multiplier is known to sqrt(eps); 1e-6 in float64
    predicted, found = sorted_pair(list(FLOWS.values())), sorted_pair(data.eigenvalues)
    norms, digits = np.array(list(NORMS.values())).T
    sizes = np.asarray(data.sizes, float)
    law = np.stack([rule(sizes) for _, rule in RULES.values()])
    first = 2 * data.cycle[1:] - data.cycle[:-1]  # extrapolations of step size to 0, by lines and by a parabola
    second = (4 * first[1] - first[0]) / 3
    return (
        close("flow: real parts of the eigenvalues", predicted.real, found.real, exact),
        close("flow: imaginary parts of the eigenvalues", predicted.imag, found.imag, exact),
        close("norm after 500 steps, as printed", norms, data.paths[:, -1], digits + 4 * STEPS * eps * norms),
        close("bilinear: spectral radius by rule and step", law, data.radii, exact),
        close("bilinear: alternating at a step of 2.1", 1.877, data.beyond, 5e-4),
        close("bilinear: radius at the best steps", [rho for _, rho in BEST.values()], data.best, exact),
        at_least("bilinear: no other step has a smaller radius", 0, data.radii[3:] - data.best[:, None], exact),
        close("bilinear: largest stable steps", list(LIMITS.values()), data.limits, exact),
        close("non-saturating: squared radius of the cycle over 2 h", 1, second, abs(second - first[1])),
    )


def controls(key, data, *, cycle_steps, bilinear):
    run = partial(compute, key, cycle_steps=cycle_steps, bilinear=bilinear)
    return {
        "steps of 0.25 read as 0.2": run(step_size=0.25),
        "penalties and noise a tenth stronger": run(scale=1.1),
        "a bilinear game that turns a tenth faster": run(turn=1.1),
    }


def plot(data):
    fig, ((plane, norm), (radius, cycle)) = panels(2, 2, width=4.1, height=3.3)
    colors = {name: f"C{i}" for i, name in enumerate(FLOWS)}
    colors |= {
        "consensus, 1": "#7B3F00",
        "symplectic, 2": "#9ACD32",
        "WGAN, clip 1": "#222222",
        "WGAN-GP, 0.7": "#AAAAAA",
    }
    for i, (name, values) in enumerate(FLOWS.items()):
        color, size = colors[name], 9 if name == "none" else 5
        plane.plot(data.eigenvalues[i].real, data.eigenvalues[i].imag, "o", color=color, ms=size, label=name)
        theory(plane, np.real(values), np.imag(values), linestyle="", marker="+", ms=7)
    plane.axvline(0, color="#999999", linewidth=0.8)
    plane.set(title="Eigenvalues of the flow at rest", xlabel="real part", ylabel="imaginary part")
    plane.set(ylim=(-0.62, 0.62), xlim=(-2.05, 0.12))
    plane.legend(fontsize=6.5, loc="lower left")
    for i, (name, (end, _)) in enumerate(NORMS.items()):
        measured(norm, np.arange(1, STEPS + 1), data.paths[i], marker="", color=colors[name], label=name)
        theory(norm, [STEPS], [end], linestyle="", marker="+", ms=8)
    norm.set(yscale="log", ylim=(1e-23, 1e2), xlabel="simultaneous steps of 0.2")
    norm.set(title="Distance from rest; + as printed", ylabel=r"$\|(\theta, \psi)\|$")
    norm.legend(fontsize=6.5, loc="lower left")
    fine = np.linspace(data.sizes[0], data.sizes[-1], 241)
    every = max(1, len(data.sizes) // 24)
    for i, (name, (_, law)) in enumerate(RULES.items()):
        measured(radius, data.sizes, data.radii[i], label=name, linestyle="", markevery=every, color=f"C{i}")
        theory(radius, fine, law(fine), label="closed form" if i == len(RULES) - 1 else None)
    radius.axhline(1, color="#999999", linewidth=0.8)
    radius.set(title="Bilinear game: one step's multiplier", xlabel=r"step size $\eta$", ylim=(0.6, 1.75))
    radius.set_ylabel("spectral radius of the update")
    radius.legend(fontsize=6.5, loc="upper left")
    measured(cycle, CYCLE_STEPS, data.cycle * 2 * CYCLE_STEPS, linestyle="", color="C1", label="non-saturating")
    grid = np.linspace(0, 0.44, 50)
    theory(cycle, grid, 2 * grid, label=r"$2h$")
    cycle.set(title="Non-saturating steps end on a cycle", xlabel=r"step size $h$", ylim=(0, 1), xlim=(0, 0.44))
    cycle.set_ylabel(r"mean of $\theta^2 + \psi^2$")
    cycle.legend(loc="upper left")
    return fig
