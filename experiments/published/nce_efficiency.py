r"""Gutmann & Hyvarinen 2012, Chehab et al. 2022: the best noise of noise-contrastive estimation is not the data's law.

A budget of T draws is split into data and nu noise draws a datum; T times the mean squared error tends to
(1 + nu)(I^-1 - (1 + nu)/nu I^-1 m m^T I^-1). For the mean of N(theta, 1), where likelihood on T data has 1:

    noise = data       (1 + nu)^2 / nu, at best 4, and the same factor on the inverse Fisher information of any model
    best N(mu, 1)      3.0711 at mu = 1.4983 and 25.1 % noise
    noise p|score|     3.0525 at 41.6 % noise; it is the best as nu grows, where n MSE = 1 + c / nu with c = 2 / pi

Two bumps do better still (2.910), and one narrow bump on one side best of these (2.376). Refuted if quadrature or
the errors of estimates fitted to samples depart from these, or if a nearby noise does better than a stated optimum.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from experiments._claim import Claim, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.published._noises import BUMP, BUMPS, DATA, SCORE, SHIFTED, draw_noise, log_noise
from nsx import asymptotics

CLAIM = Claim(
    statement="The noise with which noise-contrastive estimation errs least is neither the law of the data nor of its "
    "family, and its share of the budget is not one half.",
    source="published: Gutmann & Hyvarinen 2012, Theorem 3; Chehab et al. 2022",
    references=("gutmann2012noise", "chehab2022optimal"),
)
SIZES = {
    "quick": {"replicates": 256, "budget": 1000},
    "full": {"replicates": 4096, "budget": 2000},
    "device": {"replicates": 65536, "budget": 8000},
}
GRID = (np.arange(1600) - 799.5) / 80
SHARES = np.linspace(0.05, 0.95, 37)  # of noise in the budget
HALF = 18
MANY = np.array([1e1, 1e2, 1e3])  # noise draws a datum
NOISES = "data", "best $N(\\mu, 1)$", "p|score|", "two bumps", "one bump"
# start of the search: centre, log sd, logit of the noise's share; which of them are free
START = np.array([[0.0, 0.0, 0.2], [1.4, 0.0, -1.0], [0.0, 0.0, -0.3], [1.6, -0.5, -0.5], [1.3, -0.5, -1.4]])
FREE = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1]])
KNOWN = np.array([4.0, 3.0711, 3.0525, 2.9101, 2.3758])  # the last digit rounded
SIMULATED = np.array([DATA, DATA, DATA, SHIFTED, SCORE, BUMPS, BUMP])  # the first three at these shares, else the best
SIMULATED_SHARES = np.array([0.25, 0.5, 0.75])


class Data(NamedTuple):
    """T times the mean squared error, exact: `curve` (noises, shares), `best` (noises,) at `optimum` (noises, 3),
    with the gradient there; `around`, the best of a grid about the optimum;
    `factor` (2, 2, nus), of noise = data for mean and log sd together, as a share of the inverse Fisher information;
    `excess` (noises, MANY), nu (n MSE - 1). Fitted: `squares` (replicates, SIMULATED).
    """

    fisher: jax.Array
    curve: jax.Array
    optimum: jax.Array
    best: jax.Array
    gradient: jax.Array
    around: jax.Array
    factor: jax.Array
    excess: jax.Array
    squares: jax.Array


def error(noise, place):
    """T times the asymptotic mean squared error at (centre, log sd, logit of the share)."""
    x = jnp.asarray(GRID)
    law = log_noise(x, noise, place[0], place[1])
    return asymptotics.nce_covariance(x[:, None], -(x**2) / 2, law, nu=jnp.exp(place[2]))[0, 0]


def search(noise, start, free, moves):
    """Newton's method on the free coordinates, bending by differences: the place, its gradient, errors around it."""
    slope = lambda place: jax.grad(error, 1)(noise, place) * free
    h = jnp.finfo(start.dtype).eps ** (1 / 3)
    steps = jnp.concatenate([jnp.zeros((1, 3)), h * jnp.eye(3), -h * jnp.eye(3)])

    def newton(place, _):
        slopes = jax.vmap(slope)(place + steps)
        bend = jnp.where(free[:, None] & free, (slopes[1:4] - slopes[4:]) / (2 * h), jnp.eye(3))
        return place - moves * jnp.linalg.solve(bend, slopes[0]), (place, slopes[0])

    place, last = (x[-1] for x in jax.lax.scan(newton, start, None, length=9)[1])
    shifts = jnp.asarray(np.stack(np.meshgrid(*[np.linspace(-0.2, 0.2, 5)] * 3), axis=-1).reshape(-1, 3))
    around = jax.vmap(lambda shift: error(noise, place + shift * free))(shifts)
    return place, around[len(shifts) // 2], jnp.max(jnp.abs(last)), jnp.min(around)


def fit(key, noise, place, budget, wrong):
    """Squared error of one estimate of the mean (the truth is 0), times the budget: five steps of Newton's method."""
    data_key, noise_key = jax.random.split(key)
    share = jax.nn.sigmoid(place[2])
    counts = jnp.round((1 - share) * budget)
    is_data = jnp.arange(budget) < counts
    drawn = draw_noise(noise_key, (budget,), noise, place[0], place[1])
    x = jnp.where(is_data, jax.random.normal(data_key, (budget,)), wrong["spread"] * drawn)
    log_nu = jnp.log((budget - counts) / counts) * wrong["ratio"]
    offset = norm.logpdf(x) - log_noise(x, noise, place[0], place[1]) - log_nu

    def loss(theta):
        logit = theta * x - theta**2 / 2 + offset
        return jnp.mean(jax.nn.softplus(jnp.where(is_data, -logit, logit)))

    slope = jax.grad(loss)
    step = lambda theta, _: (theta - slope(theta) / jax.grad(slope)(theta), None)
    return budget * jax.lax.scan(step, jnp.zeros(()), None, length=5)[0] ** 2


def both_parameters(nu):
    """Covariance for mean and log sd of the normal law with noise = data, over the inverse Fisher information."""
    x = jnp.asarray(GRID)
    score, law = jnp.stack([x, x**2 - 1], axis=1), -(x**2) / 2
    bound = jnp.linalg.inv(asymptotics.fisher_information(score, law))
    return asymptotics.nce_covariance(score, law, law, nu=nu) / jnp.sqrt(jnp.outer(jnp.diag(bound), jnp.diag(bound)))


def compute(key, *, replicates, budget, moves=1.0, spread=1.0, ratio=1.0, charged=1.0):
    """Wrong worlds: no search (moves 0), noise wider than believed, log nu forgotten (ratio 0), noise for nothing."""
    wrong = {"moves": moves, "spread": spread, "ratio": ratio, "charged": charged}
    return simulate(key, wrong, replicates=replicates, budget=budget)


@partial(jax.jit, static_argnames=("replicates", "budget"))
def simulate(key, wrong, *, replicates, budget):
    noises, x, n = jnp.arange(5), jnp.asarray(GRID), len(SHARES)
    found = jax.vmap(lambda *world: search(*world, wrong["moves"]))(noises, jnp.asarray(START), jnp.asarray(FREE > 0))
    nus = jnp.asarray(np.concatenate([SHARES / (1 - SHARES), MANY]))
    at = lambda noise, place, nu: error(noise, place.at[2].set(jnp.log(nu)))
    errors = jax.vmap(jax.vmap(at, (None, None, 0)), (0, 0, None))(noises, found[0], nus)
    curve = errors[:, :n] / (1 + (1 - wrong["charged"]) * nus[:n])
    fisher = asymptotics.fisher_information(x[:, None], -(x**2) / 2)[0, 0]
    factor = jax.vmap(both_parameters, out_axes=-1)(nus[:n]) * nus[:n] / (1 + nus[:n]) ** 2
    places = found[0][SIMULATED].at[:3, 2].set(jnp.log(jnp.asarray(SIMULATED_SHARES / (1 - SIMULATED_SHARES))))
    one = jax.vmap(lambda k, noise, place: fit(k, noise, place, budget, wrong))
    squares = over_devices(
        lambda k: one(jax.random.split(k, len(SIMULATED)), jnp.asarray(SIMULATED), places),
        jax.random.split(key, replicates),
        batch_size=16,
    )
    return Data(fisher, curve, *found, factor, MANY * (errors[:, n:] / (1 + MANY) - 1), squares)


def verdict(data):
    eps = np.finfo(data.curve.dtype).eps
    rounding = 256 * eps  # sums of 1,600 products, and differences of numbers of order 1
    split = SHARES * (1 - SHARES)
    shares = 1 / (1 + np.exp(-data.optimum[:, 2]))
    predicted = np.append(1 / (SIMULATED_SHARES * (1 - SIMULATED_SHARES)), data.best[SHIFTED:])
    quadrature = (GRID[1] - GRID[0]) ** 2  # of |x| at its kink, at most h^2 / 12 times a few
    return (
        close("Fisher information", 1, data.fisher, rounding),
        close("noise = data: error x share x (1 - share)", 1, data.curve[DATA] * split, rounding),
        close("noise = data, mean and log sd: the same factor", np.eye(2)[:, :, None], data.factor, rounding),
        close("noise = data at equal shares, as published", 4, data.curve[DATA, HALF], 1e-3),
        close("best error: data, N(mu, 1), p|score|, two bumps, one", KNOWN, data.best, 5e-5 + quadrature),
        close("best N(mu, 1): its mean", 1.4983, data.optimum[SHIFTED, 0], 5e-5 + np.sqrt(rounding)),
        close("share of noise at these", [0.5, 0.251, 0.416, 0.369, 0.182], shares, 5e-4 + np.sqrt(rounding)),
        at_most("gradient at the optima", 0, data.gradient, rounding),
        at_least("no noise nearby does better", 0, data.around - data.best, rounding),
        at_most("each law of the list beats the one before", 0, np.diff(data.best), -rounding),
        close("many noise draws: n MSE - 1 = 1 / nu with noise = data", 1, data.excess[DATA], rounding * MANY),
        close("and 2 / (pi nu) with p|score|", 2 / np.pi, data.excess[SCORE], 2 / MANY + rounding * MANY),
        at_least("no law has less", 2 / np.pi, data.excess[:, -1], 2 / MANY[-1] + rounding * MANY[-1]),
        mean_is("fitted: budget x squared error", predicted, data.squares),
    )


def controls(key, data, *, replicates, budget):
    world = partial(compute, key, replicates=256, budget=1000)
    return {
        "noise that costs nothing": world(charged=0.0),
        "noise wider than believed": world(spread=1.5),
        "the ratio of noise to data forgotten": world(ratio=0.0),
        "a search stopped before it starts": world(moves=0.0),
        "p|score| taken for the data's law": data._replace(excess=data.excess[[SCORE, DATA, DATA, DATA, DATA]] - 0.1),
        "the list upside down": data._replace(best=data.best[::-1], fisher=data.best[0]),
        "mean and log sd with unequal shares": data._replace(factor=data.factor[::-1]),
    }


def plot(data):
    fig, (by_share, laws, many) = panels(3, width=3.8, height=3.4)
    grid, shares = np.linspace(-4, 4, 400), 1 / (1 + np.exp(-data.optimum[:, 2]))
    places = np.concatenate([SIMULATED_SHARES, shares[SHIFTED:]])
    mean, band = data.squares.mean(axis=0), student_margin(data.squares, alarm=0.05)
    for noise, name in enumerate(NOISES):
        colour, mine = f"C{noise}", noise == SIMULATED
        by_share.errorbar(places[mine], mean[mine], band[mine], color=colour, fmt="o", markersize=4, label=name)
        theory(by_share, SHARES, data.curve[noise], color=colour)
        law = np.exp(log_noise(jnp.asarray(grid), noise, *data.optimum[noise, :2]))
        laws.plot(grid, law, color=colour)
    by_share.axhline(1, color="0.5", linestyle=":")
    by_share.text(0.5, 1.12, "likelihood", fontsize=7, color="0.4", ha="center")
    by_share.set(ylim=(0, 9), xlabel="share of noise in the budget", ylabel=r"budget $\times$ mean squared error")
    by_share.legend(fontsize=7, loc="upper center", ncols=2)
    laws.set(xlabel="$x$ (the data are N(0, 1))", ylabel="density of the noise", title="The best noise of each family")
    for noise, factor, label in ((DATA, 1, r"$1/\nu$"), (SCORE, 2 / np.pi, r"$2/(\pi\nu)$")):
        measured(many, MANY, data.excess[noise] / MANY, label=NOISES[noise], color=f"C{noise}", linestyle="none")
        theory(many, MANY, factor / MANY, label=label, linestyle="--" if noise == DATA else "-.")
    measured(many, MANY, data.excess[SHIFTED] / MANY, color=f"C{SHIFTED}", label=NOISES[SHIFTED])
    measured(many, MANY, data.excess[BUMPS] / MANY, color=f"C{BUMPS}", label=NOISES[BUMPS])
    many.set(
        xscale="log", yscale="log", xlabel=r"noise draws a datum, $\nu$", title="With much noise, p|score| is best"
    )
    many.set_ylabel(r"$n\ \times$ mean squared error $-$ 1")
    many.legend(fontsize=7)
    by_share.set_title("Error by law and share of the noise")
    return fig
