r"""Whether generator and learner settle is read off the linearised update map; a penalty helps small steps only.

Players of a x y with norm penalties r1 and r2 have a flow with eigenvalues -(r1 + r2)/2 +- sqrt((r1 - r2)^2/4 - a^2);
one step of a rule multiplies a small deviation by its update map's eigenvalues, and the rule holds up to the step
where their largest modulus reaches 1: 2r/(r^2 + a^2) for simultaneous steps under two equal penalties, 2/(a + r) in
turn, and with a penalty g on one player (a = 1) g, or 4/(g + sqrt(g^2 - 4)) from g = 2 on. Refuted if the spectra or
those steps differ from closed forms, or if runs, of this game or of a softmax generator against a flax learner, leave
the linear prediction. The chapter's "a penalty stabilises" holds for the flow, and for steps below that bound only.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from experiments.frontiers import _duel, _learner
from nsx import games

CLAIM = Claim(
    statement="A generator against a learner can be unstable, which linearising their coupled updates shows; "
    "penalising the norm of the generator's parameters stabilises it.",
    source="000, adversarial negative sampling",
    references=("mescheder2017numerics", "mescheder2018which", "gidel2019variational", "nagarajan2017gradient"),
    expected="conditional",
    why="Every penalty on one player stabilises the continuous flow of the bilinear game, but its simultaneous steps "
    "only below a bound (g, or 4 / (g + sqrt(g^2 - 4)) for g > 2), which falls again as the penalty grows.",
)
SIZES = {
    "quick": {"games_drawn": 64, "steps": 4000, "settle": 3000},
    "full": {"games_drawn": 4096, "steps": 20_000, "settle": 3000},
    "device": {"games_drawn": 65_536, "steps": 100_000, "settle": 30_000},
}
NORMS = 10.0 ** -np.arange(0, 3.3, 0.25)  # penalties of the real generator
STEEP = 4  # of those, the one whose rules are watched
WATCHED = ("simultaneous", "alternating", "optimistic")


class Data(NamedTuple):
    """Drawn games (games, 3) and eigenvalues (games, 2). With damping 0.3, by rule: radius and matrix of a step over
    STEPS, log growth a step of a run, largest stable step, log growth beside it (rules, 2). Penalty on one player: flow
    abscissa, radius of a step of 1, largest stable step; radius of unpenalised steps. The real game, by norm penalty:
    residual, abscissa, largest stable step; by rule, beside its largest stable step (rules, 2): log growth a step,
    distance from the linear prediction and its margin, deviation run and told (rules, 2, steps); `length` of the runs
    of the linear game.
    """

    drawn: jax.Array
    eigenvalues: jax.Array
    radii: jax.Array
    matrices: jax.Array
    growth: jax.Array
    limits: jax.Array
    beside: jax.Array
    flow: jax.Array
    unit_radius: jax.Array
    one_sided: jax.Array
    free_radius: jax.Array
    residual: jax.Array
    abscissa: jax.Array
    real_steps: jax.Array
    real_limits: jax.Array
    real_growth: jax.Array
    real_error: jax.Array
    real_margin: jax.Array
    real_run: jax.Array
    real_told: jax.Array
    length: jax.Array


# many small programs that run once: compiling them with care would take longer than running them
@partial(
    jax.jit,
    static_argnames=("games_drawn", "steps", "settle"),
    compiler_options={"xla_backend_optimization_level": 0},
)
def play(key, mechanism, *, games_drawn, steps, settle):
    turn, stride, sign, unit, scale = mechanism
    draw_key, direction_key = jax.random.split(key)
    drawn = jax.random.uniform(draw_key, (games_drawn, 3), maxval=2.0)
    spectrum = jax.vmap(
        lambda g: games.linearize(_duel.duel(turn * g[0], sign * g[1], sign * g[2]), _duel.origin()).eigenvalues
    )
    norms = sign * scale * jnp.asarray(NORMS)
    rests = _learner.rests(norms, settle)
    abscissa = jax.vmap(lambda g, p: games.linearize(_learner.field(g), p).abscissa)(norms, rests.players)
    simple = lambda g, p: games.largest_stable_step(
        lambda h: games.simultaneous(_learner.field(g), step_size=h), p, low=0.05, high=50.0
    )
    real_steps = jax.vmap(simple)(norms, rests.players)
    steep = jax.tree.map(lambda x: x[STEEP], rests.players)
    field = _learner.field(norms[STEEP])
    direction = jax.random.normal(direction_key, ravel_pytree(steep)[0].shape)
    rules = [_duel.RULES[name] for name in WATCHED]
    watched = [_learner.watch(lambda h, m=m: m(field, step_size=h), steep, direction, stride) for m in rules]
    free = games.spectral_radius(games.simultaneous(_duel.duel(turn, 0.0, 0.0), step_size=unit), _duel.origin())
    return Data(
        drawn,
        spectrum(drawn),
        *_duel.bilinear(turn, stride, steps),
        *_duel.one_sided(turn, sign, unit),
        free,
        rests.residual,
        abscissa,
        real_steps,
        *(jnp.stack(x) for x in zip(*watched, strict=True)),
        jnp.asarray(steps),
    )


def compute(key, *, turn=1.0, stride=1.0, sign=1.0, unit=1.0, scale=1.0, **size):
    """Wrong worlds: players that do not oppose each other; runs at other steps than told; rewards for penalties; short
    steps for steps of 1; the real generator's penalties scaled.
    """
    return play(key, jnp.asarray([turn, stride, sign, unit, scale]), **size)


def verdict(data):
    eps = np.finfo(data.radii.dtype).eps
    a, r1, r2 = np.asarray(data.drawn, float).T
    root = np.sqrt((r1 - r2) ** 2 / 4 - a**2 + 0j)
    law = np.stack([-(r1 + r2) / 2 + root, -(r1 + r2) / 2 - root], axis=1)
    near = 256 * eps / np.maximum(2 * np.abs(root), np.sqrt(eps))[:, None]  # rounding over the gap of the two
    found = np.asarray(data.eigenvalues)
    radii = np.array([[np.abs(_duel.multipliers(name, h)).max() for h in _duel.STEPS] for name in _duel.RULES])
    matrices = np.nan_to_num(np.asarray(data.matrices, float))
    condition = np.linalg.cond(np.linalg.eig(matrices)[1])
    settled = np.log(condition) / (data.length // 2) + 64 * eps  # what turning eigenvectors can add to a norm
    crossing = 4096 * eps  # 64 m eps of tolerance over a slope of the radius of 0.1 and more
    return (
        close("flow: eigenvalues, real", law.real, found.real, near),
        close("flow: eigenvalues, imaginary", np.abs(law.imag), np.abs(found.imag), near),
        close("radius of a step, by rule", radii, data.radii, 64 * eps * condition),
        close("run: log growth a step", np.log(data.radii), data.growth, settled),
        close("largest stable step, by rule", [_duel.reach(name) for name in _duel.RULES], data.limits, crossing),
        at_most("run 2 % below it: log growth a step", 0, data.beside[:, 0]),
        at_least("run 2 % above it: log growth a step", 0, data.beside[:, 1]),
        close("penalty on one player: largest stable step", _duel.bound(_duel.PENALTIES), data.one_sided, crossing),
        at_its_word(at_least("no penalty: growth of a step of 1", 1, data.free_radius - 64 * eps)),
        at_its_word(at_most("any penalty on one: abscissa of the flow", 0, data.flow + 64 * eps)),
        at_its_word(at_most("any penalty on one: growth of a step of 1", 1, data.unit_radius)),
        at_most("real game: field left at its equilibria", 0, data.residual, 64 * eps),
        at_its_word(at_least("real game, hardly any penalty: abscissa", 0, data.abscissa[-2:])),
        at_its_word(at_most("real game, penalty 0.03 and more: abscissa", 0, data.abscissa[:7])),
        close("real game: run off the linear prediction, relative", 0, data.real_error, data.real_margin),
        at_most("real game 2 % below: log growth a step", 0, data.real_growth[:, 0]),
        at_least("real game 2 % above: log growth a step", 0, data.real_growth[:, 1]),
    )


def controls(key, data, *, games_drawn, steps, settle):
    run = partial(compute, key, games_drawn=games_drawn, steps=steps, settle=settle)
    return {
        "players that do not oppose each other": run(turn=0.0),
        "runs at steps a tenth longer than told": run(stride=1.1),
        "runs at steps a tenth shorter than told": run(stride=0.9),
        "rewards for penalties": run(sign=-1.0),
        "steps of 0.05 for steps of 1": run(unit=0.05),
        "a hundredfold penalty of the real generator": run(scale=100.0),
    }


def plot(data):
    fig, ((rate, reach_of), (flow, real)) = panels(2, 2, width=4.1, height=3.3)
    fine = np.linspace(_duel.STEPS[0], _duel.STEPS[-1], 300)
    for i, name in enumerate(_duel.RULES):
        measured(rate, _duel.STEPS, data.growth[i], linestyle="", color=f"C{i}", label=name)
        theory(rate, fine, [np.log(np.abs(_duel.multipliers(name, h)).max()) for h in fine])
        measured(rate, [data.limits[i]], [0], marker="|", ms=14, mew=2, linestyle="", color=f"C{i}")
    rate.axhline(0, color="#999999", linewidth=0.8)
    rate.set(title="Runs grow as the update map says", xlabel=r"step size $\eta$", ylim=(-0.9, 0.65))
    rate.set_ylabel("log growth a step")
    rate.legend(fontsize=6.5, loc="upper left")
    g = np.geomspace(_duel.PENALTIES[0], _duel.PENALTIES[-1], 200)
    reach_of.fill_between(g, 0.05, _duel.bound(g), color="C0", alpha=0.12, linewidth=0)
    measured(reach_of, _duel.PENALTIES, data.one_sided, linestyle="", color="C0", label="duel $xy$")
    theory(reach_of, g, _duel.bound(g), label=r"$g$, then $4/(g+\sqrt{g^2-4})$")
    measured(reach_of, NORMS, data.real_steps, color="C1", label="softmax against flax learner")
    reach_of.set(xscale="log", yscale="log", xlabel="norm penalty of the generator $g$", ylim=(0.05, 30))
    reach_of.set(title="A penalty helps steps below a bound")
    reach_of.set_ylabel("largest stable simultaneous step")
    reach_of.text(1.3, 0.09, "stable", color="C0", fontsize=8)
    reach_of.legend(fontsize=6.5, loc="upper left")
    measured(flow, NORMS, data.abscissa * 1e3, color="C1", label="softmax against flax learner")
    flow.axhline(0, color="#999999", linewidth=0.8)
    flow.set(title="Real game: unstable without a penalty", xscale="log", xlabel="norm penalty of the generator $g$")
    flow.set_ylabel(r"abscissa of the flow ($10^{-3}$)")
    flow.legend(fontsize=7, loc="upper right")
    steps = np.arange(1, data.real_run.shape[-1] + 1)
    for i, name in enumerate(WATCHED):
        for j, factor in enumerate(_duel.NEAR):
            style = {"linestyle": "-" if j else ":", "color": f"C{list(_duel.RULES).index(name)}", "marker": ""}
            measured(real, steps, data.real_run[i, j], label=f"{name}, {factor:g} of the bound", **style)
            theory(real, steps, data.real_told[i, j], linewidth=0.7)
    real.set(yscale="log", xlabel="steps", title="Real game, beside the predicted bound")
    real.set_ylabel("deviation from equilibrium")
    real.legend(fontsize=6.5, loc="upper left")
    return fig
