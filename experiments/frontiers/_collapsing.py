"""Generators that collapse, or do not: against a frozen learner, a live one, and a stiff one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from experiments._style import measured, theory
from nsx import games
from nsx.entropy import entropy

LAW = np.arange(1, 9) / 36  # the data of the live game
NEGATIVES = 5
CANDIDATES, STIFFNESS = 50, 4.0  # of the stiff game
TIMES = np.array([1, 4, 16])  # over the shortest time at which the tail is looked at


def frozen(rewards, penalty):
    """The generator's game against rewards that do not change."""
    return games.vector_field((lambda p: games.norm_penalty(p[0], strength=penalty) - jax.nn.softmax(p[0]) @ rewards,))


def tail(lead, penalty, first, k=5):
    """Probability that is not on the best of 5, better by `lead`, at three times, without restraint but a penalty."""
    rewards = jnp.zeros(k).at[0].set(lead)
    update = games.simultaneous(frozen(rewards, penalty), step_size=1.0)
    found, state, before = [], update.init((jnp.zeros(k),)), 0
    for time in TIMES * first:
        state = jax.lax.fori_loop(0, time - before, lambda _, s: update.step(s), state)
        logits, before = state.players[0], time
        found.append(jnp.exp(jax.nn.logsumexp(logits[1:]) - jax.nn.logsumexp(logits)))
    return jnp.stack(found)


def climb(off, lead, times, k=5):
    """Time the flow takes to come to `off` from even, how much steps of 1 may differ, and the bend of the power law.

    Integrating dx / x' gives the first; steps shift it by half the log of x' lost (Euler-Maclaurin), doubled here;
    the last is 2 x (1 - q_h), the law's next term, where the power law itself puts it.
    """
    rate = lambda q: q * (1 - q) * lead * k / (k - 1)
    x = np.log(k - 1) + np.log1p(-off) - np.log(off)
    odds = (1 - off) / off
    time = (k - 1) / k / lead * (2 * x + odds - 1 / odds - 1 / (k - 1) + (k - 1))
    power = (k - 1) / (k * lead * times)
    return time, np.log(rate(1 / k) / rate(power)), 2 * (np.log(k - 1) - np.log(power)) * power / np.log(4)


def log_times(steps, count):
    """Distinct step numbers, from 0, evenly spread in the logarithm."""
    return np.unique(np.geomspace(1, steps, count).round().astype(int)) - 1


def penalised(rewards, penalty, steps):
    """Entropy over training, and at its end the law and the field left, from a generator that is spread."""
    update = games.simultaneous(frozen(rewards, penalty), step_size=1.0)

    def step(state, _):
        state = update.step(state)
        return state, entropy(state.players[0], 1.0)

    state, path = jax.lax.scan(step, update.init((jnp.zeros_like(rewards),)), length=steps)
    left = jnp.max(jnp.abs(frozen(rewards, penalty)(state.players)[0]))
    return path, jax.nn.softmax(state.players[0]), left


def live_field(frozen_share):
    """Tables of logits and of scores, no penalty; a frozen share of 1 stops the learner."""
    same = lambda p: p
    generator, learner = games.generator_learner(same, same, jnp.log(jnp.asarray(LAW)), negatives=NEGATIVES)
    return games.vector_field((generator, lambda p: (1 - frozen_share) * learner(p)))


def live(scores, speed, frozen_share, steps):
    """Entropy of the generator while a learner of that relative speed answers, and its law in the end."""
    update = games.simultaneous(live_field(frozen_share), step_size=(0.5, 0.5 * speed))

    def step(state, _):
        state = update.step(state)
        return state, entropy(state.players[0], 1.0)

    state, path = jax.lax.scan(step, update.init((jnp.zeros_like(scores), scores)), length=steps)
    return path, jax.nn.softmax(state.players[0])


def live_abscissa(speed, frozen_share):
    """Largest real part at rest, the shift of all logits, which changes nothing, held by a trace of penalty."""
    rest = games.generator_equilibrium(jnp.log(jnp.asarray(LAW)), negatives=NEGATIVES)
    field = live_field(frozen_share)
    scaled = lambda p: (jax.tree.map(lambda x: x - jnp.mean(p[0]), field(p)[0]), speed * field(p)[1])
    return games.linearize(scaled, (rest.log_q - jnp.mean(rest.log_q), rest.scores)).abscissa


def live_linear(speed):
    """Largest real part at rest in closed form: [[0, a C], [-r a C, -r a diag P]], a = k / (1 + k), r the speed."""
    a, spread = NEGATIVES / (1 + NEGATIVES), np.diag(LAW) - np.outer(LAW, LAW)
    jacobian = np.block([[0 * spread, a * spread], [-speed * a * spread, -speed * a * np.diag(LAW)]])
    return np.sort(np.linalg.eigvals(jacobian).real)[-2]  # the largest is 0: a shift of all logits


def stiff(penalty):
    """One candidate is harder by 1 - psi; the learner lowers it at a cost of STIFFNESS psi^2 / 2."""

    def hard(players):
        return jax.nn.softmax(players[0])[0] * (1 - players[1])

    return games.vector_field(
        (
            lambda p: games.norm_penalty(p[0], strength=penalty) - hard(p),
            lambda p: games.norm_penalty(p[1], strength=STIFFNESS) + hard(p),
        )
    )


def stiff_rest(gap, penalty):
    """The rest of the stiff game near a gap: players, abscissa, largest stable step, entropy, gap."""
    k = CANDIDATES
    logits = jnp.full(k, -gap / k).at[0].set(gap * (1 - 1 / k))
    p = jax.nn.sigmoid(gap - jnp.log(k - 1.0))
    found = games.equilibrium(stiff(penalty), (logits, p / STIFFNESS), iterations=8)
    rule = lambda h: games.simultaneous(stiff(penalty), step_size=h)
    limit = games.largest_stable_step(rule, found.players, low=0.01, high=20.0)
    logits = found.players[0]
    flow = games.linearize(stiff(penalty), found.players).abscissa
    return found.players, flow, limit, entropy(logits, 1.0), logits[0] - logits[1]


def stiff_law(x, k=CANDIDATES):
    """The penalty at which the stiff game rests with gap x."""
    p = 1 / (1 + (k - 1) * np.exp(-x))
    return k / (k - 1) * p * (1 - p) * (1 - p / STIFFNESS) / x


def stiff_linear(x, k=CANDIDATES):
    """Abscissa of the flow and largest stable step at rest with gap x, from the gap and psi alone."""
    p = 1 / (1 + (k - 1) * np.exp(-x))
    slope, g = k / (k - 1) * p * (1 - p), stiff_law(x, k)
    own = slope * (1 - 2 * p) * (1 - p / STIFFNESS) - g
    root = np.sqrt((own + STIFFNESS) ** 2 - 4 * slope * p * (1 - p))
    return np.maximum((own - STIFFNESS + root) / 2, -g), 4 / (STIFFNESS - own + root)


def folds(k=CANDIDATES):
    """The penalties, lower first, between which the stiff game has two stable rests."""
    law = stiff_law(np.linspace(0.5, np.log(k - 1), 400_001), k)
    return np.sort(law[np.flatnonzero(np.diff(np.sign(np.diff(law)))) + 1])


LIMIT = float(np.mean(stiff_linear(np.array([0.3, 5.0]))[1]))  # it varies by half a per cent


def gibbs_entropy(rewards, hardness):
    """The most entropy at a mean reward, by bisection on the sharpness of softmax(b l)."""
    low, high = np.zeros(hardness.shape), np.full(hardness.shape, 1e3)

    def law(b):
        z = b[..., None] * (rewards - rewards.max(axis=1, keepdims=True))[:, None].astype(float)
        q = np.exp(z)
        q /= q.sum(axis=-1, keepdims=True)
        return q, z

    for _ in range(70):
        middle = (low + high) / 2
        enough = np.sum(law(middle)[0] * rewards[:, None], axis=-1) > hardness
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    q, _ = law(low)
    return -np.sum(q * np.log(np.maximum(q, 1e-300)), axis=-1)


def draw_training(ax, data):
    """Entropy over training, by penalty, in the first replicate."""
    shown = np.linspace(0, len(data.penalties) - 1, 5).round().astype(int)
    for i, j in enumerate(shown):
        label = f"$g$ = {data.penalties[j]:.2g}"
        measured(ax, data.times, np.median(data.entropy[:, j], axis=0), marker="", color=f"C{i}", label=label)
    ax.set(title="A penalty stops the collapse short", ylim=(0, 3.1), xscale="log", xlabel="training steps")
    ax.set_ylabel("entropy of the generator (nats)")
    ax.legend(fontsize=7, loc="lower left")


def draw_trade_off(ax, data, worlds=3):
    """Entropy against hardness by penalty, under the frontier of Gibbs laws."""
    for i in range(worlds):
        rewards = np.asarray(data.rewards[i : i + 1], float)
        fine = np.linspace(rewards.mean() + 1e-6, rewards.max() - 1e-4, 200)[None]
        theory(ax, fine[0], gibbs_entropy(rewards, fine)[0], label=None if i else "Gibbs laws, the frontier")
        hardness = data.law[i] @ data.rewards[i]
        measured(ax, hardness, data.entropy[i, :, -1], linestyle="", color=f"C{i}", label=f"penalised, world {i + 1}")
    ax.set(title="Diversity against hardness", xlabel="mean reward of a negative (hardness)", ylim=(0, 3.1))
    ax.set_ylabel("entropy of the generator (nats)")
    ax.legend(fontsize=7, loc="lower left")


def draw_map(ax, data, penalties, steps):
    """Runs from collapse over penalty and step: where they settle, and where."""
    settled, collapsed = data.map_change < 1e-3 * np.abs(data.map_gap), data.map_gap > 2
    g, h = np.meshgrid(penalties, steps, indexing="ij")
    for keep, marker, color, label in (
        (settled & collapsed, "o", "C1", "settles, collapsed"),
        (settled & ~collapsed, "o", "C0", "settles, spread"),
        (~settled, "x", "#777777", "does not settle"),
    ):
        measured(ax, g[keep], h[keep], linestyle="", marker=marker, color=color, label=label)
    theory(ax, [penalties[0] * 0.9, penalties[-1] * 1.1], [LIMIT, LIMIT], label="largest stable step")
    for i, fold in enumerate(folds()):
        theory(ax, [fold, fold], [0, 0.8], linestyle=":", label=None if i else "folds of the collapse law")
    ax.set(title="Stability and collapse are two lines", ylim=(0.1, 1.05), xlabel="norm penalty of the generator $g$")
    ax.set_ylabel("step size")
    ax.legend(fontsize=6.5, loc="upper right", ncols=2)
