"""Pair counts, PMI, the objective, its factorisation, training, neighbours."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import words
from tests.catalogue import Case

TABLE = np.array([[3.0, 0.0, 1.0], [1.0, 4.0, 2.0]])
SCORES = np.array([[0.4, -0.3, 0.1], [-0.2, 0.7, 0.0]])
LOG_WEIGHTS = np.array([0.1, -0.4, 0.3])
TOKENS = np.array([0, 1, 2, 1, 0, 2, 2, 1])
VECTORS = np.array([[1.0, 0.2], [0.3, -0.8], [0.5, 0.9], [-0.7, 0.4], [-0.1, -0.6]])
WORD = VECTORS[:3]
CONTEXT = VECTORS[2:]
LAW = {
    "parameters": {"negatives": 2.0, "exponent": 0.75},
    "outside": {"negatives": (0.0, -1.0, np.inf), "exponent": (np.inf,)},
}
NEGATIVES = {"parameters": {"negatives": 2.0}, "outside": {"negatives": (0.0, -1.0, np.inf)}}
UNSEEN = "an unobserved pair has PMI -inf, the logarithm of 0"
HOST = dict.fromkeys(("jit", "gradient", "nan gradient"), "a corpus is looked at on the host, in NumPy")
DRAWN = dict.fromkeys(("gradient", "nan gradient"), "what is kept or cut is drawn, and has no slope")
HALF = {"mixed": "tables keep their own type, half precision included; what they hold is summed in float32"}


def cooccurrence(tokens, sentence, window, vocabulary_size):
    counts = words.cooccurrence(tokens, sentence=sentence, window=window, vocabulary_size=vocabulary_size)
    return words.to_dense(counts)


def pair_counts(values):
    """Three cells of a table."""
    return words.PairCounts(np.array([0, 0, 1]), np.array([0, 2, 1]), np.asarray(values, np.float64), (2, 3))


def to_dense(values):
    return words.to_dense(pair_counts(values))


def marginals(values):
    return words.marginals(pair_counts(values))


def svd_factors(matrix, split, rank):
    """Singular vectors have either sign; their squares have not."""
    factors = words.svd_factors(matrix, split=split, rank=rank)
    return factors.words**2, factors.contexts**2


def fit_sgns(key, counts, negatives, exponent, learning_rate):
    return words.fit_sgns(
        jax.random.clone(key), counts, rank=1, negatives=negatives, exponent=exponent, num_steps=3,
        learning_rate=learning_rate,
    )  # fmt: skip


def a_block():
    return words.Block(jnp.array([0, 1, 2, 1]), jnp.array([1, 1]), jnp.array([1, 0]))


def block_loss(word, context, noise_ids, negatives):
    return words.block_loss(words.Embedding(*common(word, context)), a_block(), noise_ids, negatives=negatives)


def block_update(word, context, noise_ids, negatives, learning_rate):
    tables = words.Embedding(*common(word, context))
    update = words.block_update(tables, a_block(), noise_ids, negatives=negatives, learning_rate=learning_rate)
    return update.word, update.context


def common(word, context):
    """Both tables of an embedding have one type."""
    dtype = jnp.result_type(word, context)
    return jnp.asarray(word, dtype), jnp.asarray(context, dtype)


def a_plan():
    return words.sgns_plan(TOKENS, vocabulary_size=3, window=1, threshold=None, epochs=2, negatives=2)


def sgns_plan(tokens, sentence):
    return words.sgns_plan(tokens, sentence=sentence, vocabulary_size=3, window=1, threshold=None)


def sample_blocks(key):
    return words.sample_blocks(jax.random.clone(key), a_plan())


def sgns_init(key):
    return words.sgns_init(jax.random.clone(key), a_plan(), dimension=2)


def sgns_epoch(key, word, context):
    """One epoch from these tables: where they end, and the loss."""
    state = words.SgnsState(words.Embedding(*common(word, context)), jnp.int32(0))
    state, info = words.sgns_epoch(jax.random.clone(key), a_plan(), state)
    return state.embedding, info.loss


def train_sgns(key, tokens, sentence):
    options = {"vocabulary_size": 3, "window": 1, "threshold": None, "epochs": 2, "dimension": 2}
    return words.train_sgns(jax.random.clone(key), tokens, sentence=sentence, **options)


def subsample(key, tokens, probability):
    return words.subsample(jax.random.clone(key), tokens, probability)


CORPUS = {"integers": {"tokens": TOKENS, "sentence": np.array([0, 0, 0, 0, 5, 5, 5, 5])}}

CASES = (
    Case(
        name="words.cooccurrence",
        call=cooccurrence,
        static={"window": 2, "vocabulary_size": 3},
        exempt=HOST,
        **CORPUS,
    ),
    Case(name="words.to_dense", call=to_dense, floats={"values": np.array([2.0, 1.0, 3.0])}, exempt=HOST),
    Case(name="words.marginals", call=marginals, floats={"values": np.array([2.0, 1.0, 3.0])}, exempt=HOST),
    Case(name="words.pmi", call=words.pmi, floats={"counts": TABLE}, infinite=UNSEEN),
    Case(name="words.sgns_optimum", call=words.sgns_optimum, floats={"counts": TABLE}, infinite=UNSEEN, **LAW),
    Case(
        name="words.sgns_optimum",
        call=words.sgns_optimum,
        floats={"counts": TABLE, "log_weights": LOG_WEIGHTS},
        infinite=UNSEEN,
        **NEGATIVES,
    ),
    Case(name="words.sppmi", call=words.sppmi, floats={"counts": TABLE}, **LAW),
    Case(
        name="words.expected_sgns",
        call=words.expected_sgns,
        floats={"scores": SCORES, "counts": TABLE},
        **LAW,
    ),
    Case(
        name="words.expected_sgns",
        call=words.expected_sgns,
        floats={"scores": SCORES, "counts": TABLE, "log_weights": LOG_WEIGHTS},
        **NEGATIVES,
    ),
    Case(name="words.optimal_sgns", call=words.optimal_sgns, floats={"counts": TABLE}, **LAW),
    Case(name="words.deviation", call=words.deviation, floats={"scores": SCORES, "counts": TABLE}, **LAW),
    Case(
        name="words.svd_factors",
        call=svd_factors,
        floats={"matrix": SCORES},
        parameters={"split": 0.5},
        outside={"split": (-0.1, 1.5)},
        static={"rank": 1},
        exempt={"gradient": "singular vectors cut off at a rank have no derivative in JAX's rule for the thin form"},
    ),
    Case(
        name="words.fit_sgns",
        call=fit_sgns,
        floats={"counts": TABLE},
        parameters={"negatives": 2.0, "exponent": 0.75, "learning_rate": 0.1},
        outside={"negatives": (0.0, -1.0), "exponent": (np.inf,), "learning_rate": (0.0, -1.0)},
        random=True,
    ),
    Case(
        name="words.keep_probability",
        call=words.keep_probability,
        floats={"frequency": np.array([0.0, 0.001, 0.3])},
        parameters={"threshold": 1e-2},
        outside={"threshold": (0.0, -1.0, np.inf)},
    ),
    Case(
        name="words.subsample",
        call=subsample,
        floats={"probability": np.array([0.2, 0.9, 0.5])},
        integers={"tokens": TOKENS},
        random=True,
        exempt=DRAWN | {"nan": "a mask cannot hold NaN: traced, tokens of unknown probability are dropped"},
    ),
    Case(
        name="words.block_loss",
        call=block_loss,
        floats={"word": WORD, "context": CONTEXT},
        integers={"noise_ids": np.array([2, 0])},
        **NEGATIVES,
    ),
    Case(
        name="words.block_update",
        call=block_update,
        floats={"word": WORD, "context": CONTEXT},
        integers={"noise_ids": np.array([2, 0])},
        parameters={"negatives": 2.0, "learning_rate": 0.1},
        outside={"negatives": (0.0, -1.0), "learning_rate": (np.inf,)},
        exempt=HALF,
    ),
    Case(name="words.sgns_plan", call=sgns_plan, exempt=HOST, **CORPUS),
    Case(name="words.sample_blocks", call=sample_blocks, random=True, exempt=DRAWN),
    Case(name="words.sgns_init", call=sgns_init, random=True),
    Case(
        name="words.sgns_epoch",
        call=sgns_epoch,
        floats={"word": WORD, "context": CONTEXT},
        random=True,
        exempt=HALF,
    ),
    Case(name="words.train_sgns", call=train_sgns, random=True, exempt=HOST, **CORPUS),
    Case(
        name="words.nearest",
        call=words.nearest,
        floats={"vectors": VECTORS},
        integers={"ids": np.array([0, 3])},
        static={"k": 2},
    ),
    Case(
        name="words.analogy",
        call=words.analogy,
        floats={"vectors": VECTORS},
        integers={"a": np.array([0]), "b": np.array([1]), "c": np.array([2])},
        static={"k": 2},
    ),
)
