r"""In-batch negatives repeat the positive: how often, what it costs, and when an id mask is the cure.

With class law p an anchor meets its own class among the B - 1 others with probability sum_c p_c (1 - (1-p_c)^(B-1)),
for C equal classes 1 - (1 - 1/C)^(B-1). m copies that the model cannot tell apart floor the loss at log(1 + m); a mask
by id takes the floor away. Refuted if the sampled share or the mean loss of a perfect model leaves these values, or
if a loss below its floor is found. Beyond: where a context has several right items, masking biases. At the true
log-odds the gradient of the in-batch loss with log q is 0 with the copies left in, and is not 0 with them masked.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as real_data
from experiments._claim import Claim, at_its_word, at_least, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, panels, theory
from experiments.contrast._copies import sample_text, share_with_copy, sizes, with_copy
from experiments.contrast._expected import expected_log, usual
from experiments.contrast._plots import dots
from experiments.contrast._rules import enumerate_gradient, gradient_at_truth
from nsx import losses, samplers

CLAIM = Claim(
    statement="In a batch of B from C classes an anchor meets a copy of its positive with probability "
    "1 - (1 - 1/C)^(B-1); m copies floor the loss at log(1 + m), and an id mask removes them without bias.",
    source="001, the engineering reality (implied by in-batch negatives)",
    references=("chen2020simple", "yi2019sampling", "ma2018noise"),
    expected="conditional",
    why="The law and the floor hold. The mask is without bias where each anchor has one right item. Where it has "
    "several, copies of one that was drawn are lawful negatives of the ranking loss with log q: left in, the truth is "
    "its fixed point, masked it is not.",
)
SIZES = {
    "quick": {"replicates": 64, "rows": 32, "largest": 256, "corpus": "shakespeare"},
    "full": {"replicates": 256, "rows": 64, "largest": 1024, "corpus": "shakespeare"},
    "device": {"replicates": 1024, "rows": 1024, "largest": 4096, "corpus": "library"},
}
CLASSES = 1000
LAWS = {"equal": np.zeros(CLASSES), "Zipf": -np.log(np.arange(CLASSES) + 1.0)}
# a perfect model on a small batch: score 1 for the same class, 0 for others
BATCH, KINDS = 16, 24
KIND_LAW = (np.arange(KINDS) + 2.0) ** -1 / np.sum((np.arange(KINDS) + 2.0) ** -1)
TEMPERATURES = np.geomspace(0.05, 2.0, 12)


class Data(NamedTuple):
    """`found` (replicates, laws, batches), share of anchors with a copy; `text` the same for words of a real text, and
    their `counts`, empty without one; `loss` (replicates, kept or masked, temperatures) and `predicted`; `slack`, least
    loss above the floor; `gradient` (replicates, kept or masked, contexts, items) at the truth, and `enumerated`.
    """

    found: jax.Array
    text: jax.Array
    counts: np.ndarray
    loss: jax.Array
    predicted: np.ndarray
    slack: jax.Array
    gradient: jax.Array
    enumerated: jax.Array


def perfect(kinds, masked, world):
    """Mean loss of a perfect model on batches of kinds (rows, b), per temperature."""
    one_hot = jax.nn.one_hot(kinds, KINDS)
    ids = jnp.where(masked & world["mask"], kinds, jnp.arange(BATCH))

    def at(tau):
        return jnp.mean(jax.vmap(lambda x, i: losses.in_batch_info_nce(x, x, temperature=tau, ids=i))(one_hot, ids))

    return jax.lax.map(at, jnp.asarray(TEMPERATURES))


def least_slack(key, kinds, world):
    """The least loss above log(1 + m) of any anchor, for random embeddings of the kinds."""
    table_key, own_key = jax.random.split(key)
    table = jax.random.normal(table_key, (KINDS, 8))
    y = table[kinds] + world["told"] * jax.random.normal(own_key, (*kinds.shape, 8))
    loss = jax.vmap(lambda y: losses.in_batch_info_nce(y, y, temperature=1.0))(y)
    copies = jnp.sum(kinds[:, :, None] == kinds[:, None, :], axis=-1)
    return jnp.min(loss - jnp.log(copies))


def replicate(key, rows, largest, world):
    keys = jax.random.split(key, 5)
    found = []
    for law_key, law in zip(keys[:2], LAWS.values(), strict=True):
        ids = samplers.draw_inverse(law_key, jnp.asarray(law), (rows, largest))
        found.append(share_with_copy(jnp.where(world["distinct"], jnp.arange(largest), ids), largest))
    kinds = samplers.draw_inverse(keys[2], jnp.log(KIND_LAW), (rows, BATCH))
    kinds = jnp.where(world["distinct"], jnp.arange(BATCH), kinds)
    loss = jnp.stack([perfect(kinds, masked, world) for masked in (False, True)])
    gradient = gradient_at_truth(keys[3], rows, world)
    return jnp.stack(found), loss, least_slack(keys[4], kinds, world), gradient


@partial(jax.jit, static_argnames=("replicates", "rows", "largest"))
def sample(key, world, replicates, rows, largest):
    return over_devices(lambda k: replicate(k, rows, largest, world), jax.random.split(key, replicates))


def predict_loss():
    """Mean loss of the perfect model, (kept or masked, temperatures), by quadrature."""

    def at(copy, tau):
        each = [expected_log(np.array([copy, -1 / tau]), np.array([p, 1 - p]), BATCH - 1, 0.0) for p in KIND_LAW]
        return KIND_LAW @ each

    return np.array([[at(copy, tau) for tau in TEMPERATURES] for copy in (0.0, -np.inf)])


def compute(key, *, replicates, rows, largest, corpus=None, **world):
    """World: no class comes twice; how much copies differ; whether mask and log q are used; text in order."""
    world = {"distinct": False, "told": 0.0, "mask": True, "log_q": 1.0, "stretch": False} | world
    draw_key, text_key = jax.random.split(key)
    found, loss, slack, gradient = sample(draw_key, world, replicates, rows, largest)
    text, counts = jnp.zeros((0, len(sizes(largest)))), np.zeros(0)
    if corpus:
        words = real_data.corpus(corpus)
        text = sample_text(text_key, jnp.asarray(words.ids), world, replicates, rows, largest)
        counts = words.counts
    return Data(found, text, counts, loss, predict_loss(), slack, gradient, enumerate_gradient())


def verdict(data):
    eps, batch = np.finfo(data.loss.dtype).eps, 2 ** np.arange(1, data.found.shape[2] + 1)
    equal, zipf = (with_copy(np.exp(law), batch) for law in LAWS.values())
    literal = (
        usual("equal classes: a copy with probability 1-(1-1/C)^(B-1)", equal, data.found[:, 0]),
        mean_is("copies kept: mean loss of a perfect model", data.predicted[0], data.loss[:, 0]),
        mean_is("copies masked: mean loss of a perfect model", data.predicted[1], data.loss[:, 1]),
        mean_is("several right items, masked: no gradient at the truth", np.zeros((2, 3)), data.gradient[:, 1]),
    )
    words = "words of a text: sum p (1 - (1-p)^(B-1))"
    return (
        *map(at_its_word, literal),
        usual("Zipf classes: sum p (1 - (1-p)^(B-1))", zipf, data.found[:, 1]),
        *([usual(words, with_copy(data.counts, batch), data.text)] if data.text.size else []),
        at_least("least loss above log(1 + m)", 0, data.slack, 512 * eps),  # scores up to 40
        mean_is("several right items, kept: no gradient at the truth", np.zeros((2, 3)), data.gradient[:, 0]),
        mean_is("several right items, masked: gradient by enumeration", data.enumerated[1], data.gradient[:, 1]),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "batches without copies, or in the order of the text": run(distinct=True, stretch=True),
        "copies that the model can tell apart": run(told=0.5),
        "the mask left out": run(mask=False),
        "log q left out": run(log_q=0.0),
    }


def plot(data):
    fig, ((share, text), (loss, bias)) = panels(2, 2)
    batch, place = 2 ** np.arange(1, data.found.shape[2] + 1), np.arange(6)
    for i, (name, law) in enumerate(LAWS.items()):
        dots(share, batch, data.found[:, i], name)
        theory(share, batch, with_copy(np.exp(law), batch), label=r"$\sum p_c (1 - (1-p_c)^{B-1})$" if i == 0 else None)
    share.set(title="Copies come early", xlabel=f"batch size $B$, {CLASSES} classes")
    if data.text.size:
        dots(text, batch, data.text, "words drawn")
        theory(text, batch, with_copy(data.counts, batch), label="from their frequencies")
        text.plot(
            batch,
            with_copy(np.ones(len(data.counts)), batch),
            color="0.55",
            linestyle=":",
            label="as if all were equal",
        )
        title, xlabel = "Words of a text: far from equal", f"batch size $B$, {len(data.counts):,} words"
        text.set(title=title, xlabel=xlabel, yscale="log")
    else:
        absent(text, "shakespeare")
    for i, name in enumerate(("copies kept", "copies masked")):
        dots(loss, TEMPERATURES, data.loss[:, i], name)
        theory(loss, TEMPERATURES, data.predicted[i], label="exact" if i else None)
    loss.axhline(data.predicted[0, 0], color="0.55", linestyle=":", label=r"mean of $\log(1 + m)$")
    loss.set(title=f"A perfect model, $B$ = {BATCH}", xlabel=r"temperature $\tau$", ylabel="mean loss (nats)")
    loss.set(xscale="log", yscale="log", ylim=(1e-4, 5))
    for i, name in enumerate(("copies kept", "copies masked")):
        values = data.gradient[:, i].reshape(-1, 6)
        bias.errorbar(place, values.mean(axis=0), student_margin(values), marker="o", linestyle="none", label=name)
        theory(bias, place, data.enumerated[i].ravel(), linestyle="none", marker="_", markersize=14)
    bias.set_xticks(place, [f"{c}{i}" for c in "AB" for i in (1, 2, 3)])
    bias.set(title="Several right items: masking biases", xlabel="context and item")
    bias.set_ylabel("mean gradient at the truth")
    for ax in (share, text):
        ax.set_ylabel("share of anchors with a copy")
        ax.set_xscale("log", base=2)
    for ax in (share, text, loss, bias):
        if ax.axison:
            ax.legend(fontsize=7)
    return fig
