r"""Mode collapse is a best response, not an instability: a frozen learner invites it, a live one undoes it.

Against rewards that do not move, the best of K by D, the gap of a softmax generator's logits climbs at the rate
D K / (K - 1) q_h (1 - q_h): in the long run 1 - q_h = (K - 1) / (K D t), and its entropy dies like log t / t. A norm
penalty stops short of that: entropy rises and hardness falls with it, below the frontier of Gibbs laws, which have the
most entropy at a given hardness. Against a learner that answers, the same game without a penalty rests at q = P, the
data, and is stable there at every speed of the learner, even one so slow that entropy nearly vanishes on the way. Where
a step stops being stable and where a penalty stops collapse are two lines that cross. Refuted if training leaves these
laws.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from experiments.frontiers import _collapsing as world
from nsx import games

CLAIM = Claim(
    statement="The generator can collapse onto a single, very hard negative, an instability that linearising shows; "
    "the entropy of its output measures it, and a norm penalty mitigates it.",
    source="000, adversarial negative sampling; 003, adaptive and adversarial sampling",
    references=("cai2018kbgan", "goodfellow2014generative", "mescheder2018which"),
    expected="conditional",
    why="It collapses when the learner does not answer, because one candidate is then the best response; that state is "
    "stable, and linearisation does not warn of it. A learner that answers brings the generator to the data.",
)
SIZES = {
    "quick": {"first": 500, "replicates": 32, "penalties": 6, "steps": 1500, "live_steps": 40_000},
    "full": {"first": 4000, "replicates": 32, "penalties": 13, "steps": 3000, "live_steps": 40_000},
    "device": {"first": 64_000, "replicates": 4096, "penalties": 49, "steps": 12_000, "live_steps": 160_000},
}
SPEEDS = np.array([1.0, 0.1, 0.03])  # of the learner over the generator
PENALTIES = (0.02, 1.0)
GAPS = np.array([0.6, 1.0, 3.6, 4.5, 6.0])  # of the stiff game: two spread states, three collapsed ones
MAP_PENALTIES, MAP_STEPS = np.geomspace(0.03, 0.11, 8), np.array([0.2, 0.3, 0.4, 0.48, 0.52, 0.6])


class Data(NamedTuple):
    """Lead D of the best of 5 (replicates,) and probability off it, at three times, (replicates, 3); `first` of them.
    Rewards of 20, the penalties, and from spread: entropy over training (replicates, penalties, times), law and field
    left in the end. The live game by speed of the learner: entropy (speeds, times), law (speeds, 8), abscissa at
    rest; the time run. The stiff game at points of its law: penalty, gap, abscissa, largest stable step, entropy; and
    runs from collapse over (MAP_PENALTIES, MAP_STEPS): gap and change in the last step.
    """

    few: jax.Array
    off: jax.Array
    first: jax.Array
    rewards: jax.Array
    penalties: jax.Array
    entropy: jax.Array
    times: jax.Array
    law: jax.Array
    left: jax.Array
    live_entropy: jax.Array
    live_times: jax.Array
    live_law: jax.Array
    live_abscissa: jax.Array
    live_time: jax.Array
    stiff_penalty: jax.Array
    stiff_gap: jax.Array
    stiff_abscissa: jax.Array
    stiff_limit: jax.Array
    stiff_entropy: jax.Array
    map_gap: jax.Array
    map_change: jax.Array


def stiff_run(penalty, step_size, steps=4000):
    """Gap and last change of the stiff game from collapse."""
    k = world.CANDIDATES
    update = games.simultaneous(world.stiff(penalty), step_size=step_size)
    start = update.init((jnp.full(k, -12.0 / k).at[0].set(12.0 * (1 - 1 / k)), jnp.asarray(0.2)))
    end = jax.lax.fori_loop(0, steps, lambda _, s: update.step(s), start)
    after = update.step(end).players
    change = jnp.abs(after[1] - end.players[1]) + jnp.max(jnp.abs(after[0] - end.players[0]))
    return end.players[0][0] - end.players[0][1], change


@partial(jax.jit, static_argnames=("first", "replicates", "penalties", "steps", "live_steps"))
def play(key, mechanism, *, first, replicates, penalties, steps, live_steps):
    restraint, sign, frozen_share, slack = mechanism
    times, live_times = world.log_times(steps, 60), world.log_times(live_steps, 400)
    few_key, many_key, live_key = jax.random.split(key, 3)
    few = jax.random.uniform(few_key, (replicates,), minval=0.5, maxval=2.0)
    rewards = jax.random.normal(many_key, (replicates, 20))
    strengths = jnp.geomspace(*PENALTIES, penalties)
    path, law, left = jax.vmap(lambda r: jax.vmap(lambda g: world.penalised(r, sign * g, steps))(strengths))(rewards)
    scores = 2 * jax.random.normal(live_key, world.LAW.shape)
    live = jax.vmap(lambda s: world.live(scores, s, frozen_share, live_steps))(jnp.asarray(SPEEDS))
    stiff_penalty = jnp.asarray(world.stiff_law(GAPS))
    _, abscissa, limit, entropy, gap = jax.vmap(world.stiff_rest)(jnp.asarray(GAPS), slack * stiff_penalty)
    runs = jax.vmap(jax.vmap(stiff_run, (None, 0)), (0, None))(slack * MAP_PENALTIES, slack * MAP_STEPS)
    return Data(
        few,
        jax.vmap(lambda d: world.tail(d, restraint, first))(few),
        jnp.asarray(first),
        rewards,
        strengths,
        path[:, :, times],
        times + 1,
        law,
        left,
        live[0][:, live_times],
        live_times + 1,
        live[1],
        jax.vmap(lambda s: world.live_abscissa(s, frozen_share))(jnp.asarray(SPEEDS)),
        jnp.asarray(0.5 * live_steps),
        stiff_penalty,
        gap,
        abscissa,
        limit,
        entropy,
        *runs,
    )


def compute(key, *, restraint=0.0, sign=1.0, frozen_share=0.0, slack=1.0, **size):
    """Wrong worlds: a penalty where there should be none; a reward for it; a learner that never answers; in the stiff
    game penalties and steps other than told.
    """
    return play(key, jnp.asarray([restraint, sign, frozen_share, slack]), **size)


def verdict(data):
    eps = np.finfo(data.law.dtype).eps
    times = world.TIMES * data.first
    clock, lag, bend = world.climb(data.off, np.asarray(data.few, float)[:, None], times)
    slope = np.diff(np.log(data.off), axis=1) / np.log(4)
    hardness, law = np.einsum("rgc,rc->rg", data.law, data.rewards), np.asarray(data.law, float)
    logits = np.log(np.maximum(law, np.finfo(float).tiny))
    logits = logits - np.mean(logits, axis=-1, keepdims=True)
    pull = law * (data.rewards[:, None] - hardness[..., None])
    rounding = data.left[..., None] + 256 * eps
    spare = world.gibbs_entropy(data.rewards, hardness) - data.entropy[:, :, -1]
    flow, reach = world.stiff_linear(GAPS)
    settled, collapsed = data.map_change < 1e-3 * np.abs(data.map_gap), data.map_gap > 2
    ends = settled == (MAP_STEPS < world.LIMIT)
    states = ~settled | (collapsed == (world.folds()[1] > MAP_PENALTIES)[:, None])
    fade = np.array([world.live_linear(speed) for speed in SPEEDS])
    ebb = np.exp(fade * data.live_time)[:, None]  # what is left of a deviation
    return (
        close("frozen: time that 1 - q_h should have taken over the time", 1, clock / times, lag / times),
        close("frozen: exponent of 1 - q_h in time", -1, slope[:, 1], bend[:, 1]),
        close("penalised: q_c (l_c - q.l) against g phi_c", data.penalties[:, None] * logits, pull, rounding),
        at_least("penalised: entropy short of Gibbs' at its hardness", 0, spare, 1e4 * eps),
        at_most("penalised: hardness gained by a larger penalty", 0, np.diff(hardness, axis=1), 1e4 * eps),
        close("live: the generator's law in the end, the data", world.LAW, data.live_law, ebb + 64 * eps),
        close("live: abscissa at rest, by speed of the learner", fade, data.live_abscissa, 1e4 * eps),
        close("stiff: gap at rest", GAPS, data.stiff_gap, 1e5 * eps),
        close("stiff: abscissa", flow, data.stiff_abscissa, 1e5 * eps),
        close("stiff: largest stable step", reach, data.stiff_limit, 4096 * eps),
        at_most("stiff: cells of the map that come out otherwise", 0, np.sum(~ends) + np.sum(~states)),
        at_its_word(at_least("frozen: probability of the hardest", 0.99, 1 - data.off[:, 2])),
        at_its_word(at_least("live: probability of the likeliest", 0.99, np.max(data.live_law, axis=1))),
        at_its_word(at_least("a penalty: gain of entropy", 0, np.diff(data.entropy[:, :, -1], axis=1), 1e4 * eps)),
        at_its_word(at_least("linearisation at collapse: abscissa", 0, data.stiff_abscissa[2:])),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "a penalty where there should be none": run(restraint=0.05),
        "a learner that never answers": run(frozen_share=1.0),
        "penalties and steps a third larger than told": run(slack=1.3),
        "rewards for the norm": run(sign=-1.0),
        "penalties read backwards": data._replace(law=data.law[:, ::-1], entropy=data.entropy[:, ::-1]),
        "entropy read at the next penalty": data._replace(entropy=np.roll(data.entropy, -1, axis=1)),
        "growth read backwards": data._replace(stiff_abscissa=-data.stiff_abscissa),
    }


def plot(data):
    fig, ((over, trade), (live, both)) = panels(2, 2, width=4.1, height=3.3)
    world.draw_training(over, data)
    world.draw_trade_off(trade, data)
    for i, speed in enumerate(SPEEDS):
        measured(
            live, data.live_times, data.live_entropy[i], marker="", color=f"C{i}", label=f"learner at speed {speed:g}"
        )
    share = -np.sum(world.LAW * np.log(world.LAW))
    theory(live, data.live_times[[0, -1]], [share, share], label="entropy of the data")
    live.set(title="A learner that answers undoes it", xscale="log", ylim=(0, 2.2), xlabel="training steps, no penalty")
    live.set_ylabel("entropy of the generator (nats)")
    live.legend(fontsize=6, loc="lower left")
    world.draw_map(both, data, MAP_PENALTIES, MAP_STEPS)
    return fig
