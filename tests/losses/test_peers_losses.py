"""The same losses from pytorch-metric-learning, sentence-transformers and torch: equal values, equal gradients.

Run with the `peers` extra; skipped without it. Everything is compared in float64.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not jax.config.jax_enable_x64, reason="compared in float64"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
CLASSES = np.repeat(np.arange(4), 3)  # two positives an anchor


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def metric_learning(torch):
    for part in ("distances", "losses", "reducers"):
        pytest.importorskip(f"pytorch_metric_learning.{part}")
    return sys.modules["pytorch_metric_learning"]


@pytest.fixture
def ranking_loss(torch):
    """MultipleNegativesRankingLoss on embeddings, without a language model."""
    library = pytest.importorskip("sentence_transformers.losses")

    def build(symmetric=False, **options):
        kind = "MultipleNegativesSymmetricRankingLoss" if symmetric else "MultipleNegativesRankingLoss"
        return getattr(library, kind)(torch.nn.Identity(), **options)

    return build


def points(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def torch_value_and_gradient(torch, function, *arrays):
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = function(*leaves)
    value.backward()
    return value.item(), [leaf.grad.numpy() for leaf in leaves]


def same(torch, ours, theirs, *arrays):
    """Values and gradients of two scalar functions agree to 1e-9."""
    value, slopes = jax.value_and_grad(ours, tuple(range(len(arrays))))(*map(jnp.asarray, arrays))
    expected, expected_slopes = torch_value_and_gradient(torch, theirs, *arrays)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    for got, want in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9 * np.max(np.abs(want)))


def triples(classes):
    """Every anchor, positive of its class, and the row of its negatives."""
    n = len(classes)
    pairs = [(a, p) for a in range(n) for p in range(n) if a != p and classes[a] == classes[p]]
    anchors, partners = np.array(pairs).T
    return anchors, partners, np.array([[j for j in range(n) if classes[j] != classes[a]] for a in anchors])


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_metric_learning_ntxent(torch, metric_learning, temperature):
    anchors, partners, others = triples(CLASSES)
    peer = metric_learning.losses.NTXentLoss(temperature=temperature)

    def ours(x):
        cosine = unit(x) @ unit(x).T
        return losses.info_nce(
            cosine[anchors, partners], cosine[anchors[:, None], others], temperature=temperature
        ).mean()

    same(torch, ours, lambda x: peer(x, torch.tensor(CLASSES)), points(0, 12, 5))


def test_metric_learning_triplet(torch, metric_learning):
    anchors, partners, others = triples(CLASSES)
    options = {
        "distance": metric_learning.distances.LpDistance(normalize_embeddings=False),
        "reducer": metric_learning.reducers.MeanReducer(),
    }

    def distances(x):
        near = losses.alignment(x[anchors], x[partners], power=1)
        return near[:, None], losses.alignment(x[anchors][:, None] + 0 * x[others], x[others], power=1)

    x = points(1, 12, 5)
    peer = metric_learning.losses.TripletMarginLoss(margin=0.3, **options)
    same(torch, lambda x: losses.triplet(*distances(x), margin=0.3).mean(), lambda x: peer(x, torch.tensor(CLASSES)), x)

    # its smooth form is BPR on minus the distances
    peer = metric_learning.losses.TripletMarginLoss(margin=0.0, smooth_loss=True, **options)

    def smooth(x):
        near, far = distances(x)
        return losses.bpr(-near[:, 0], -far).mean() / far.shape[1]

    same(torch, smooth, lambda x: peer(x, torch.tensor(CLASSES)), x)


@pytest.mark.parametrize("symmetric", [False, True])
def test_sentence_transformers_in_batch(torch, ranking_loss, symmetric):
    peer = ranking_loss(scale=20.0, symmetric=symmetric)

    def ours(x, y):
        return losses.in_batch_info_nce(unit(x), unit(y), temperature=1 / 20, symmetric=symmetric, block_size=4).mean()

    same(torch, ours, lambda x, y: peer.compute_loss_from_embeddings([x, y], None), points(2, 11, 5), points(3, 11, 5))


def test_sentence_transformers_with_hard_negatives(torch, ranking_loss):
    # candidates of a row: all positives and all hard negatives of the batch
    peer = ranking_loss(scale=10.0)

    def ours(x, y, z):
        scores = unit(x) @ jnp.concatenate([unit(y), unit(z)]).T
        where = ~jnp.eye(7, 14, dtype=bool)
        return losses.info_nce(jnp.diagonal(scores), scores, temperature=0.1, where=where).mean()

    embeddings = [points(s, 7, 5) for s in (4, 5, 6)]
    same(torch, ours, lambda *e: peer.compute_loss_from_embeddings(list(e), None), *embeddings)


def test_torch_functions(torch):
    functional = torch.nn.functional
    positive, negatives = 3 * points(7, 30), 3 * points(8, 30, 6)
    joined = lambda p, n: torch.cat([p[:, None], n], dim=1)
    first = torch.zeros(30, dtype=torch.long)
    labels = functional.one_hot(first, 7).double()

    def binary(p, n):
        return functional.binary_cross_entropy_with_logits(joined(p, n), labels, reduction="sum")

    same(torch, lambda p, n: losses.sgns(p, n).sum(), binary, positive, negatives)
    same(
        torch,
        lambda p, n: losses.sigmoid(p, n, temperature=0.5, bias=-1.0).sum(),
        lambda p, n: binary(2 * p - 1, 2 * n - 1),
        positive,
        negatives,
    )
    same(
        torch,
        lambda p, n: losses.info_nce(p, n, temperature=0.5).sum(),
        lambda p, n: functional.cross_entropy(joined(p, n) / 0.5, first, reduction="sum"),
        positive,
        negatives,
    )
    same(
        torch,
        lambda p, n: losses.decoupled_info_nce(p, n, temperature=0.5).sum(),
        lambda p, n: (torch.logsumexp(2 * n, 1) - 2 * p).sum(),
        positive,
        negatives,
    )
    weight = lambda n: torch.softmax(0.7 * n, 1).detach()
    same(
        torch,
        lambda p, n: losses.self_adversarial(p, n, sharpness=0.7).sum(),
        lambda p, n: -(functional.logsigmoid(p) + (weight(n) * functional.logsigmoid(-n)).sum(1)).sum(),
        positive,
        negatives,
    )
    same(
        torch,
        lambda p, n: losses.bpr(p, n).sum(),
        lambda p, n: -functional.logsigmoid(p[:, None] - n).sum(),
        positive,
        negatives,
    )


def test_torch_uniformity(torch):
    # pdist takes each pair once, which the mean does not see
    theirs = lambda x: torch.logsumexp(-2 * torch.pdist(x) ** 2, 0) - np.log(66)
    same(torch, losses.uniformity, theirs, points(9, 12, 5))
