"""Losses: vanished ratios, batches without a negative, duplicates, temperature out of range."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nsx import losses
from tests.traps import REFUSES, Trap


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slope(function, *arrays):
    """Value and largest entry of the gradient, (2,), in float32."""
    value, gradients = jax.value_and_grad(function, tuple(range(len(arrays))))(*(jnp.float32(a) for a in arrays))
    return np.array([value, max(np.max(np.abs(g)) for g in gradients)])


def torch_slope(function, *arrays):
    torch = importlib.import_module("torch")
    leaves = [torch.tensor(np.float32(a), requires_grad=True) for a in arrays]
    value = function(torch, *leaves)
    value.backward()
    return np.array([value.item(), max(leaf.grad.abs().max().item() for leaf in leaves)])


def one_tower(library, embeddings, labels, temperature):
    """A library's NT-Xent over one labelled set, with its gradient."""
    if library == "optax":
        return slope(lambda x: optax.losses.ntxent(x, jnp.asarray(labels), temperature), embeddings)
    peer = importlib.import_module("pytorch_metric_learning.losses").NTXentLoss(temperature=temperature)
    return torch_slope(lambda torch, x: peer(x, torch.tensor(labels)), embeddings)


def ranking(x, y, scale):
    """sentence-transformers' MultipleNegativesRankingLoss on embeddings."""

    def loss(torch, x, y):
        library = importlib.import_module("sentence_transformers.losses")
        return library.MultipleNegativesRankingLoss(torch.nn.Identity(), scale=scale).compute_loss_from_embeddings(
            [x, y], None
        )

    return torch_slope(loss, x, y)


def ours(x, y, temperature, **options):
    normed = lambda v: v / jnp.linalg.norm(v, axis=-1, keepdims=True)
    return slope(
        lambda x, y: losses.in_batch_info_nce(normed(x), normed(y), temperature=temperature, **options).mean(), x, y
    )


def torch_cross_entropy(x, y, temperature):
    def loss(torch, x, y):
        scores = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
        return torch.nn.functional.cross_entropy(scores / temperature, torch.arange(len(x)))

    return torch_slope(loss, x, y)


def reference(x, y, temperature, step=1e-6):
    """Mean in-batch InfoNCE of cosines and its largest derivative, by central differences in float64."""

    def loss(both):
        a, b = unit(both[0]), unit(both[1])
        z = a @ b.T / temperature
        top = z.max(axis=1)
        return np.mean(np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - np.diag(z))

    both = np.stack([x, y])
    derivative = [
        (loss(both + step * e) - loss(both - step * e)) / (2 * step) for e in np.eye(both.size).reshape(-1, *both.shape)
    ]
    return np.array([loss(both), np.max(np.abs(derivative))])


ANGLE = np.array([0.0, 2.9])  # anchor 0 nearly opposite to its positive, which is nearly anchor 1
X = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
Y = np.stack([np.cos(ANGLE[::-1] + 0.1), np.sin(ANGLE[::-1] + 0.1)], axis=1)
HARD = [X, Y, 0.01]
HARD_PAIR = Trap(
    "the hardest pair is silenced",
    "in-batch InfoNCE of two crossed pairs at temperature 0.01, float32: loss and largest derivative",
    reference(*HARD),
    {
        "nsx": lambda: ours(*HARD),
        "torch": lambda: torch_cross_entropy(*HARD),
        "sentence-transformers": lambda: ranking(X, Y, 100.0),
    },
)

# anchor a, its positive nearly opposite, a negative nearly on the anchor: exp underflows in the ratio
TRIO = np.array([[1.0, 0.0], [-1.0, 0.2], [1.0, 0.1]])


def trio_reference(temperature=0.01, step=1e-6):
    def loss(x):
        s = unit(x) @ unit(x).T / temperature
        rows = [np.logaddexp(0.0, s[0, 2] - s[0, 1]), np.logaddexp(0.0, s[1, 2] - s[1, 0])]
        return np.mean(rows)

    derivative = [(loss(TRIO + step * e) - loss(TRIO - step * e)) / (2 * step) for e in np.eye(6).reshape(6, 3, 2)]
    return np.array([loss(TRIO), np.max(np.abs(derivative))])


def trio_ours():
    def loss(x):
        x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        s = x @ x.T
        return losses.info_nce(s[(0, 1), (1, 0)], s[(0, 1), (2, 2)][:, None], temperature=0.01).mean()

    return slope(loss, TRIO)


UNDERFLOW = Trap(
    "log(ratio + tiny)",
    "NT-Xent of one pair and one stranger at temperature 0.01, float32: loss and largest derivative",
    trio_reference(),
    {
        "nsx": trio_ours,
        "optax": lambda: one_tower("optax", TRIO, np.array([0, 0, 1]), 0.01),
        "pytorch-metric-learning": lambda: one_tower("pml", TRIO, np.array([0, 0, 1]), 0.01),
    },
)

SAME = np.array([[1.0, 0.2], [0.3, 1.0], [-0.5, 0.4]])
NO_NEGATIVE = Trap(
    "a batch without a negative",
    "all items are of one class: loss 0 and gradient 0, not NaN",
    np.zeros(2),
    {
        "nsx": lambda: ours(SAME, SAME[::-1].copy(), 0.1, ids=jnp.zeros(3, int)),
        "optax": lambda: one_tower("optax", SAME, np.zeros(3, int), 0.1),
        "pytorch-metric-learning": lambda: one_tower("pml", SAME, np.zeros(3, int), 0.1),
    },
    absolute=1e-6,
)

CLUSTERS = np.repeat(np.eye(2), 2, axis=0)
SOLVED = Trap(
    "a solved batch",
    "two orthogonal classes of two equal vectors at temperature 0.01: loss 0 to 1e-6, finite gradient",
    np.zeros(2),
    {
        "nsx": lambda: ours(CLUSTERS, CLUSTERS, 0.01, ids=jnp.array([0, 0, 1, 1])),
        "optax": lambda: one_tower("optax", CLUSTERS, np.array([0, 0, 1, 1]), 0.01),
        "pytorch-metric-learning": lambda: one_tower("pml", CLUSTERS, np.array([0, 0, 1, 1]), 0.01),
    },
    absolute=1e-6,
)

TWICE = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
DUPLICATES = Trap(
    "duplicates of the positive in the batch",
    "the same pair twice at temperature 0.05: with identities known the loss is that of distinct pairs, below 1e-6, "
    "not log 2",
    np.zeros(1),
    {
        "nsx": lambda: ours(TWICE, TWICE, 0.05, ids=jnp.array([0, 0, 1]))[:1],
        "torch": lambda: torch_cross_entropy(TWICE, TWICE, 0.05)[:1],
        "sentence-transformers": lambda: ranking(TWICE, TWICE, 20.0)[:1],
    },
    absolute=1e-6,
)


def masked_row(library):
    """Loss and derivative of a row whose negatives are all masked."""
    scores, where = np.array([2.0, 1.0]), np.zeros(2, bool)
    if library == "nsx":
        return slope(lambda p, n: losses.info_nce(p, n, where=jnp.asarray(where)), np.float32(0.5), scores)
    if library == "jax":
        return slope(lambda n: jnp.sum(jax.nn.softmax(n, where=jnp.asarray(where))), scores)
    softmax = lambda torch, n: torch.softmax(n.masked_fill(torch.tensor(~where), -np.inf), 0).sum()
    return torch_slope(softmax, scores)


MASKED = Trap(
    "a row of masked negatives",
    "softmax over nothing: 0 with gradient 0, not NaN",
    np.zeros(2),
    {library: lambda library=library: masked_row(library) for library in ("nsx", "jax", "torch")},
    absolute=1e-7,
)


def zero_temperature(library):
    if library == "nsx":
        return losses.info_nce(0.5, jnp.zeros(3), temperature=0.0)
    if library == "sentence-transformers":
        return ranking(X, Y, -20.0)
    return one_tower(library, TRIO, np.array([0, 0, 1]), 0.0)


TEMPERATURE = Trap(
    "temperature 0 or negative",
    "must be refused, not answered with NaN or an ascent",
    REFUSES,
    {
        library: lambda library=library: zero_temperature(library)
        for library in ("nsx", "optax", "pytorch-metric-learning", "sentence-transformers")
    },
)


def coincident(library):
    """Largest derivative of a triplet loss at anchor = positive: finite, of size one."""
    anchor, other = np.array([[0.3, 0.4]]), np.array([[0.3, 0.9]])

    def distance(x, y):
        return losses.alignment(x, y, power=1)

    if library == "nsx":
        loss = lambda a, p, n: losses.triplet(distance(a, p), distance(a, n), margin=1.0).sum()
        return slope(loss, anchor, anchor, other)[1:]
    if library == "optax":
        loss = lambda a, p, n: optax.losses.triplet_margin_loss(a, p, n, eps=0.0).sum()
        return slope(loss, anchor, anchor, other)[1:]
    loss = lambda torch, a, p, n: torch.nn.functional.triplet_margin_loss(a, p, n, eps=0.0)
    return torch_slope(loss, anchor, anchor, other)[1:]


COINCIDENT = Trap(
    "anchor and positive coincide",
    "triplet loss of Euclidean distances without an epsilon: the largest derivative is 1, not NaN",
    np.ones(1),
    {library: lambda library=library: coincident(library) for library in ("nsx", "optax", "torch")},
)


def odd_norm(library):
    """Triplet loss with the city-block distance, whose sum has both signs in its terms."""
    a, p, n = np.array([[0.0, 0.0]]), np.array([[1.0, -1.0]]), np.array([[1.0, 2.0]])
    if library == "nsx":
        d = lambda x, y: jnp.sum(jnp.abs(x - y), axis=-1)
        return losses.triplet(d(a, p), d(a, n), margin=3.0)
    if library == "optax":
        return optax.losses.triplet_margin_loss(*map(jnp.float32, (a, p, n)), norm_degree=1, margin=3.0)
    torch = importlib.import_module("torch")
    return torch.nn.functional.triplet_margin_loss(*(torch.tensor(v) for v in (a, p, n)), p=1, margin=3.0).numpy()


CITY_BLOCK = Trap(
    "an odd norm without absolute values",
    "triplet loss with the city-block distance: 2 against 3, margin 3: the loss is 2 (nsx takes the distances)",
    2.0,
    {library: lambda library=library: odd_norm(library) for library in ("nsx", "optax", "torch")},
)

LARGE = np.array([-1e4, 50.0, 1e4])


def large_scores(library):
    """Sum of softplus and its largest derivative at scores of 1e4."""
    if library == "nsx":
        return slope(lambda n: losses.sgns(jnp.float32(0.0), n), LARGE)
    if library == "optax":
        return slope(lambda n: optax.losses.sigmoid_binary_cross_entropy(n, jnp.zeros(3)).sum() + np.log(2), LARGE)
    return torch_slope(
        lambda torch, n: (
            torch.nn.functional.binary_cross_entropy_with_logits(n, torch.zeros(3), reduction="sum") + np.log(2)
        ),
        LARGE,
    )


SATURATED = Trap(
    "scores of 1e4",
    "SGNS: no overflow and no gradient lost at large scores (loss 10050.7, derivative 1)",
    np.array([10050 + np.log(2), 1.0]),
    {library: lambda library=library: large_scores(library) for library in ("nsx", "optax", "torch")},
    relative=1e-6,
)

TRAPS = (
    HARD_PAIR, UNDERFLOW, NO_NEGATIVE, SOLVED, DUPLICATES, MASKED, TEMPERATURE, COINCIDENT, CITY_BLOCK, SATURATED,
)  # fmt: skip
