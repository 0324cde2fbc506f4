"""Draws and entropies: classes lost in a float32 sum, classes of probability 0, tails below rounding."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np

from nsx import entropy, samplers
from tests.traps import REFUSES, Trap

RARE, DRAWS = 1_000_000, 10_000_000  # classes of mass 1e-9 behind one of mass 0.999


def law():
    weights = np.full(RARE + 1, 1e-9)
    weights[0] = 1 - 1e-3
    return weights


def distinct_rare(draw):
    """How many of the rare classes are drawn at least once."""
    ids = np.asarray(draw(law()))
    return len(np.unique(ids[ids > 0]))


def nsx_alias(weights):
    table = samplers.alias_table(jnp.log(jnp.asarray(weights, jnp.float32)))
    return samplers.draw_alias(jax.random.key(0), table, (DRAWS,))


def numpy_choice(weights):
    return np.random.default_rng(0).choice(len(weights), DRAWS, p=weights)


def jax_choice(weights):
    return jax.random.choice(jax.random.key(0), len(weights), (DRAWS,), p=jnp.asarray(weights, jnp.float32))


def torch_multinomial(weights):
    torch = importlib.import_module("torch")
    torch.manual_seed(0)
    return torch.multinomial(torch.tensor(weights, dtype=torch.float32), DRAWS, replacement=True).numpy()


SAMPLERS = {
    "nsx": nsx_alias,
    "numpy": numpy_choice,
    "jax": jax_choice,
    "torch": torch_multinomial,
}
SEEN = RARE * -np.expm1(DRAWS * np.log1p(-1e-9))  # expected number seen; its standard deviation is below 1 %

LOST = Trap(
    "rare classes that a float32 sum swallows",
    f"a million classes of mass 1e-9 behind one of 0.999: of {DRAWS:,} draws about {SEEN:,.0f} rare classes appear",
    SEEN,
    {name: lambda draw=draw: distinct_rare(draw) for name, draw in SAMPLERS.items()},
    relative=0.05,
)


def impossible(draw):
    """Draws of classes of probability 0 at both ends and in the middle."""
    weights = np.random.default_rng(1).random(100_001)
    zero = np.zeros(len(weights), bool)
    zero[[0, len(weights) // 2, -1]] = zero[1000:2000] = True
    weights[zero] = 0
    return zero[np.asarray(draw(weights / weights.sum()))].sum()


IMPOSSIBLE = Trap(
    "classes of probability 0",
    f"none appears in {DRAWS:,} draws",
    0.0,
    {name: lambda draw=draw: impossible(draw) for name, draw in SAMPLERS.items()},
)


def too_many(library):
    """Five different draws from three possible classes."""
    weights = np.array([0.5, 0.0, 0.3, 0.0, 0.2, 0.0])
    if library == "nsx":
        return samplers.draw_without_replacement(jax.random.key(0), jnp.log(jnp.asarray(weights)), 5)
    if library == "numpy":
        return np.random.default_rng(0).choice(6, 5, replace=False, p=weights)
    if library == "jax":
        return jax.random.choice(jax.random.key(0), 6, (5,), replace=False, p=jnp.asarray(weights))
    torch = importlib.import_module("torch")
    return torch.multinomial(torch.tensor(weights), 5, replacement=False)


SHORT = Trap(
    "more draws than classes",
    "five draws without replacement from three possible classes must be refused, not filled up",
    REFUSES,
    {library: lambda library=library: too_many(library) for library in ("nsx", "numpy", "jax", "torch")},
)

GAP = 67.0
TAIL = (1 + GAP) * np.exp(-GAP)  # entropy of two scores, to first order in the small weight


def tail(library):
    scores = np.array([0.0, -GAP], np.float32)
    if library == "nsx":
        return entropy.entropy(jnp.asarray(scores), 1.0)
    if library == "jax":
        return jnp.sum(jax.scipy.special.entr(jax.nn.softmax(jnp.asarray(scores))))
    if library == "scipy":
        return importlib.import_module("scipy.stats").entropy(np.exp(scores))
    torch = importlib.import_module("torch")
    return torch.distributions.Categorical(logits=torch.tensor(scores)).entropy().item()


COLD = Trap(
    "entropy below rounding",
    f"two scores {GAP:g} temperatures apart, float32: H = {TAIL:.2e} nats",
    TAIL,
    {library: lambda library=library: tail(library) for library in ("nsx", "jax", "scipy", "torch")},
    relative=1e-4,
)


def frozen_slope(library):
    """dH/dtau at tau = 1e-3 for scores 0 and -1, by automatic differentiation."""
    scores, tau = np.array([0.0, -1.0], np.float32), np.float32(1e-3)
    if library == "nsx":
        return jax.grad(lambda t: entropy.entropy(jnp.asarray(scores), t))(tau)
    if library == "jax":
        naive = lambda p: -jnp.sum(p * jnp.log(p))
        return jax.grad(lambda t: naive(jax.nn.softmax(jnp.asarray(scores) / t)))(tau)
    torch = importlib.import_module("torch")
    t = torch.tensor(tau, requires_grad=True)
    torch.distributions.Categorical(logits=torch.tensor(scores) / t).entropy().backward()
    return t.grad.item()


FROZEN = Trap(
    "the slope of a frozen softmax",
    "dH/dtau at a thousandth of the gap, float32: 0, not NaN (for jax, -sum p log p)",
    0.0,
    {library: lambda library=library: frozen_slope(library) for library in ("nsx", "jax", "torch")},
    absolute=1e-30,
)

TRAPS = (LOST, IMPOSSIBLE, SHORT, COLD, FROZEN)
