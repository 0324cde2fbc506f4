"""What an approximate index returns in the place of the nearest vectors: its recall, its misses, its gradient bias."""

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments._devices import over_devices
from nsx import bias, losses, samplers, words

TEMPERATURE = 0.2  # of cosines
PROBES, BEAMS = (1, 2, 4, 8, 16), (1, 2, 4, 8)  # lists read by IVF; width of HNSW's search, in k + 1
EDGES = 2.0 ** np.arange(21)  # of ranks


class Found(NamedTuple):
    """By setting s and anchor a: `recall` of the true k; `along`, bias of the gradient along that of the uniform law,
    whose own is 1; `exchange`, mean gradient of the wrong less that of the missed, along the same; `depth`, how deep
    the wrong lie, 0 on average if uniform; `tilt`, ranks of the missed in units of k - 1, 0 on average if all k are
    missed alike. By setting: `missed` (s, k) share of anchors that miss the true neighbour of each rank, `ranks`
    (s, bins) wrong ones by true rank between EDGES. `settings` (s,) names; `others` (1,) n - 1.
    """

    recall: np.ndarray
    along: np.ndarray
    exchange: np.ndarray
    depth: np.ndarray
    tilt: np.ndarray
    missed: np.ndarray
    ranks: np.ndarray
    settings: np.ndarray
    others: np.ndarray


def nothing() -> Found:
    """Where there is no index."""
    return Found(*np.zeros((5, 0, 0)), np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0, "<U9"), np.zeros(1))


def library():
    """The faiss module, or None where it is not installed."""
    with warnings.catch_warnings():
        # its wrapper types have no __module__, which Python announces to forbid
        warnings.filterwarnings("ignore", message="builtin type", category=DeprecationWarning)
        try:
            import faiss
        except ImportError:
            return None
    return faiss


def word_vectors(key, corpus: str, epochs: int) -> np.ndarray:
    """Skip-gram vectors of a real text."""
    text = sources.corpus(corpus, min_count=5)
    options = {"vocabulary_size": len(text.words), "sentence": text.sentence, "epochs": epochs, "dimension": 64}
    return np.asarray(words.train_sgns(key, text.ids, **options).embedding.word)


@partial(jax.jit, static_argnums=1)
def planted_vectors(key, size: int) -> jax.Array:
    """Vectors around 40 centres, close enough for their clouds to overlap."""
    centre_key, choice_key, noise_key = jax.random.split(key, 3)
    centres = jax.random.normal(centre_key, (40, 16))
    chosen = centres[jax.random.randint(choice_key, (size,), 0, 40)]
    return chosen + jax.random.normal(noise_key, chosen.shape)


def search(unit: np.ndarray, anchors: np.ndarray, k: int) -> tuple[list[str], np.ndarray]:
    """The k nearest others by each index and setting, (s, a, k); -1 where it returns fewer."""
    faiss = library()
    unit = np.ascontiguousarray(unit, np.float32)
    lists = 2 ** round(np.log2(len(unit)) / 2)
    inverted = faiss.IndexIVFFlat(faiss.IndexFlatIP(unit.shape[1]), unit.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    graph = faiss.IndexHNSWFlat(unit.shape[1], 4, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 16
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # a graph built by several threads differs from run to run
    try:
        inverted.train(unit)
        for index in (inverted, graph):
            index.add(unit)
        found = {}
        for inverted.nprobe in PROBES:
            found[f"IVF {inverted.nprobe}"] = inverted.search(unit[anchors], k + 1)[1]
        for width in BEAMS:
            graph.hnsw.efSearch = width * (k + 1)
            found[f"HNSW {width}"] = graph.search(unit[anchors], k + 1)[1]
    finally:
        faiss.omp_set_num_threads(threads)
    return list(found), np.stack([without_itself(ids, anchors) for ids in found.values()])


def without_itself(ids: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Drop the anchor from its own list, or the last entry where the index missed even that."""
    itself = ids == anchors[:, None]
    itself[~itself.any(axis=1), -1] = True
    return ids[~itself].reshape(len(ids), -1)


def replaced_uniformly(key, nearest: np.ndarray, anchors: np.ndarray, others: int, lost: np.ndarray) -> np.ndarray:
    """The mixture come true: each entry is, with a chance, any of the others; (s, a, k)."""
    which_key, id_key = jax.random.split(key)
    shape = (len(lost), *nearest.shape)
    ids = jax.random.randint(id_key, shape, 0, others)
    ids += ids >= anchors[:, None]
    return np.asarray(jnp.where(jax.random.uniform(which_key, shape) < lost[:, None, None], ids, nearest))


@jax.jit
def measure(unit, anchors, nearest, returned):
    """The fields of Found, anchor by anchor: one table of gradients at a time."""
    size, k = unit.shape[0], nearest.shape[1]

    def listed(ids):
        return jnp.log(jnp.zeros(size).at[jnp.where(ids < 0, size, ids)].add(1.0, mode="drop"))

    def one(task):
        anchor, true, lists = task
        pushed = jax.grad(lambda x, c: losses.sgns(0.0, (x @ c / TEMPERATURE)[None]))  # the pull is common to all
        gradients = jax.vmap(pushed, (None, 0))(unit[anchor], unit)
        hard, laws = listed(true), jax.vmap(listed)(lists)
        uniform = samplers.exclude(jnp.zeros(size), jnp.arange(size) == anchor)
        direction = bias.gradient_bias(gradients, uniform, hard)
        onto = gradients @ direction / (direction @ direction)
        along = jax.vmap(lambda law: bias.gradient_bias(onto, law, hard))(laws)
        order = jnp.argsort(-(unit @ unit[anchor]).at[anchor].set(jnp.inf))
        rank = jnp.zeros(size, int).at[order].set(jnp.arange(size))  # 0 is the anchor itself, 1..k the true
        recall = jnp.sum(jnp.exp(laws[:, true]), axis=1) / k
        wrong = jnp.where(jnp.exp(hard) > 0, 0, jnp.exp(laws))  # how often each is listed
        depth = jnp.sum(wrong * ((rank - k) / (size - k) - 0.5), axis=1) / k
        missed = jnp.isneginf(laws[:, true])
        tilt = missed @ (jnp.arange(k) / (k - 1) - 0.5)
        ranks = jax.vmap(lambda w: jnp.histogram(rank, jnp.asarray(EDGES), weights=w)[0])(wrong)
        excess = samplers.probabilities(laws) - samplers.probabilities(hard)
        mean = lambda weight: weight @ onto / jnp.maximum(jnp.sum(weight, axis=1), 1 / (4 * k))  # or at least 1 / 2k
        exchange = mean(jnp.maximum(excess, 0)) - mean(jnp.maximum(-excess, 0))
        return recall, along, exchange, depth, tilt, missed, ranks

    *fields, missed, ranks = over_devices(one, (anchors, nearest, jnp.swapaxes(returned, 0, 1)))
    return *(f.T for f in fields), jnp.mean(missed, axis=0), jnp.sum(ranks, axis=0)


def look_up(key, *, corpus, epochs, planted, anchors, k, index="faiss") -> Found:
    """Search for the neighbours of some vectors among all, exactly and approximately.

    `index` is None for no search; "faiss"; "uniform", whose misses come from the whole set; or "twice", where twice as
    many are fetched and all are used.
    """
    if index is None or library() is None:
        return nothing()
    vector_key, choice_key, miss_key = jax.random.split(key, 3)
    vectors = planted_vectors(vector_key, planted) if corpus is None else word_vectors(vector_key, corpus, epochs)
    vectors = np.asarray(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = np.asarray(jax.random.choice(choice_key, len(unit), (anchors,), replace=False))
    unit = jnp.asarray(unit, float)
    nearest = np.asarray(words.nearest(unit, chosen, k=k).ids)
    names, returned = search(np.asarray(unit), chosen, 2 * k if index == "twice" else k)
    if index == "uniform":
        recall = (returned[..., None] == nearest[:, None, :]).any(axis=2).mean(axis=(1, 2))
        lost = (1 - recall) / (1 - k / (len(unit) - 1))
        returned = replaced_uniformly(miss_key, nearest, chosen, len(unit) - 1, lost)
    returned = np.pad(returned, [(0, 0), (0, 0), (0, 2 * k - returned.shape[2])], constant_values=-1)
    fields = jax.device_get(measure(unit, chosen, nearest, returned))
    return Found(*fields, np.array(names), np.array([len(unit) - 1.0]))
