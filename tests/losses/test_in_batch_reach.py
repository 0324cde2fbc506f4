"""The in-batch loss beyond b pairs: more candidates, own negatives, rows that do not count, and what log q does."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses
from nsx.losses import in_batch_info_nce
from tests.helpers import EPS, FLOAT, PRECISION, close
from tests.oracles import in_batch as oracle

PAIRS, MORE, OWN, DEPTH = 7, 4, 2, 3
TEMPERATURE = 0.7
sides = pytest.mark.parametrize("symmetric", [False, True], ids=["rows", "both"])

# which arguments a case has; b = 7 and n = 11 rows in tiles of 3, so that every edge is uneven
CASES = {
    "more candidates": {"more"},
    "own": {"own"},
    "own, ragged": {"own", "own_where"},
    "rows that count": {"where"},
    "candidates that count": {"more", "where"},
    "ranking": {"log_q", "more", "where"},
    "importance": {"ids", "log_q"},
    "all without log q": {"ids", "more", "own", "own_where", "where"},
    "all": {"ids", "log_q", "more", "own", "own_where", "where"},
}


def example(names, seed=0):
    """Float data and the other arguments of a case, NumPy float64."""
    rng = np.random.default_rng(seed)
    candidates = PAIRS + MORE * ("more" in names)
    floats = {"x": rng.normal(size=(PAIRS, DEPTH)), "y": rng.normal(size=(candidates, DEPTH))}
    floats["temperature"] = np.float64(TEMPERATURE)
    others = {}
    if "own" in names:
        floats["own"] = rng.normal(size=(PAIRS, OWN, DEPTH))
    if "log_q" in names:
        floats["log_q"] = rng.uniform(-4, -1, candidates)
    if "ids" in names:
        others["ids"] = rng.integers(0, 5, candidates)
    if "own_where" in names:
        others["own_where"] = rng.random((PAIRS, OWN)) < 0.6
    if "where" in names:
        others["where"] = np.arange(candidates) % 4 != 2
    return floats, others


def form_of(names):
    if "log_q" not in names:
        return None
    return "importance" if "ids" in names else "ranking"


@functools.cache
def compiled(symmetric, block_size=3, names=()):
    """Losses and the gradient of their weighted sum in all float data; `names` only separates the compiled programs."""

    def total(floats, others, weights):
        loss = in_batch_info_nce(**floats, **others, symmetric=symmetric, block_size=block_size)
        return jnp.sum(weights * loss), loss

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def run(floats, others, weights, symmetric):
    floats = {name: np.asarray(value, FLOAT) for name, value in floats.items()}
    (_, loss), slopes = compiled(symmetric)(floats, others, np.asarray(weights, FLOAT))
    return loss, slopes


def finite_differences(function, floats, step=1e-5):
    """Central differences of a scalar function of a dict of arrays, in float64."""
    slopes = {}
    for name, value in floats.items():
        slopes[name] = np.zeros(np.shape(value))
        for place in np.ndindex(np.shape(value)):
            bump = np.zeros(np.shape(value))
            bump[place] = step
            up, down = (function(floats | {name: value + sign * bump}) for sign in (1, -1))
            slopes[name][place] = (up - down) / (2 * step)
    return slopes


# --- Value and gradient


@sides
@pytest.mark.parametrize("case", CASES)
def test_every_argument_against_the_definition(case, symmetric, tolerance):
    names = CASES[case]
    floats, others = example(names)
    definition = functools.partial(oracle.in_batch_info_nce, symmetric=symmetric, form=form_of(names), **others)
    for weights in (np.full(PAIRS, 1 / PAIRS), np.linspace(-1.0, 2.0, PAIRS)):  # equal ones take a path of their own
        loss, slopes = run(floats, others, weights, symmetric)
        close(loss, definition(**floats), tolerance, scale=10)
        expected = finite_differences(lambda f, weights=weights: weights @ definition(**f), floats)
        for name in floats:
            close(slopes[name], expected[name], max(tolerance, 1e-9), scale=10)


@sides
def test_block_size_and_jit_change_nothing(symmetric, tolerance):
    floats, others = example(CASES["all"])
    loss, _ = run(floats, others, np.ones(PAIRS), symmetric)
    for block_size in (1, None):
        again = functools.partial(in_batch_info_nce, **others, symmetric=symmetric, block_size=block_size)
        close(jax.jit(lambda floats, f=again: f(**floats))(floats), loss, tolerance, 10)


def dense(floats, others, form):
    """The loss on scores that are held, by `info_nce` alone: rows only."""
    x, y, own, tau = (jnp.asarray(floats[name]) for name in ("x", "y", "own", "temperature"))
    size = len(x)
    scores = jnp.concatenate([x @ y.T, jnp.sum(x[:, None] * own, axis=2)], axis=1)
    where = others["where"][None, :] & (others["ids"][None, :] != others["ids"][:size, None])
    where = jnp.concatenate([where, jnp.asarray(others["own_where"])], axis=1) & others["where"][:size, None]
    shift = jnp.zeros(len(y))
    if form == "importance":
        shift = jnp.where(others["where"], floats["log_q"] + jnp.log(jnp.sum(others["where"]) - 1.0), 0)
    scores = scores / tau - jnp.concatenate([shift, jnp.zeros(OWN)])[None, :]
    return losses.info_nce(jnp.sum(x * y[:size], axis=1) / tau, scores, where=where)


def test_second_derivatives(tolerance):
    # the products of the Hessian of a curved function of the losses, with every argument in play
    floats, others = example(CASES["all"])
    floats = {name: jnp.asarray(value, FLOAT) for name, value in floats.items()}
    rng = np.random.default_rng(1)
    tangent = {name: jnp.asarray(rng.normal(size=value.shape), FLOAT) for name, value in floats.items()}
    ours = lambda floats: jnp.sum(in_batch_info_nce(**floats, **others, block_size=3) ** 2)
    plain = lambda floats: jnp.sum(dense(floats, others, "importance") ** 2)
    product = lambda f: jax.jit(lambda a, t: jax.jvp(jax.grad(f), (a,), (t,))[1])(floats, tangent)
    got, expected = product(ours), product(plain)
    for name in floats:
        scale = float(np.max(np.abs(expected[name])))
        assert scale > 0.1
        np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=100 * tolerance * scale)


# --- Rows that do not count


@sides
@pytest.mark.parametrize("case", ["rows that count", "ranking", "all without log q", "all"])
def test_padding_is_as_if_it_were_not_there(case, symmetric, tolerance):
    # whatever it holds: NaN in every float, ids of others, and a mean over the rows that count
    names = CASES[case] | {"where", "more"}
    floats, others = example(names)
    where = others["where"]
    spoiled = {name: np.array(value) for name, value in floats.items()}
    for name in {"x", "own"} & set(floats):
        spoiled[name][~where[:PAIRS]] = np.nan
    for name in {"y", "log_q"} & set(floats):
        spoiled[name][~where] = np.nan
    weights = np.where(where[:PAIRS], 1 / np.sum(where[:PAIRS]), 0)
    loss, slopes = run(spoiled, others, weights, symmetric)

    def without_padding(name, value):
        return value[where] if len(value) == len(where) else value[where[:PAIRS]]

    alone = {n: v if n == "temperature" else without_padding(n, v) for n, v in floats.items()}
    rest = {n: without_padding(n, v) for n, v in others.items() if n != "where"}
    expected, expected_slopes = run(alone, rest, weights[where[:PAIRS]], symmetric)
    close(np.asarray(loss)[where[:PAIRS]], expected, tolerance, 10)
    assert np.all(np.asarray(loss)[~where[:PAIRS]] == 0)
    for name, slope in slopes.items():
        slope = np.asarray(slope)
        if name == "temperature":
            close(slope, expected_slopes[name], tolerance, 10)
            continue
        counts = where if len(slope) == len(where) else where[:PAIRS]
        close(slope[counts], expected_slopes[name], tolerance, 10)
        assert np.all(slope[~counts] == 0), name


@sides
def test_nobody_counts(symmetric):
    floats, others = example({"own"})
    others["where"] = np.zeros(PAIRS, bool)
    loss, slopes = run(floats, others, np.ones(PAIRS), symmetric)
    assert np.all(np.asarray(loss) == 0)
    assert all(np.all(np.asarray(slope) == 0) for slope in slopes.values())


# --- What log q does


def test_importance_has_the_full_denominator_in_expectation():
    # every batch of three draws from four items beside a fixed positive: hits are masked, but are draws
    scores, law = jnp.array([0.3, -1.0, 0.8, 0.1]), np.array([0.4, 0.3, 0.2, 0.1])
    batches = np.array(list(itertools.product(range(4), repeat=3)))
    chance = np.prod(law[batches], axis=1)

    def denominator(positive, draws, padding, more):
        items = jnp.concatenate([jnp.array([positive]), draws])
        y = jnp.pad(scores[items][:, None], [(0, padding), (0, 0)], constant_values=jnp.nan)
        ids, log_q = jnp.pad(items, (0, padding)), jnp.pad(jnp.log(law)[items], (0, padding))
        x = jnp.ones((len(y) - more, 1))
        loss = in_batch_info_nce(x, y, temperature=1.0, ids=ids, log_q=log_q, where=jnp.arange(len(y)) < 4)[0]
        return jnp.exp(loss + scores[positive])

    for padding, more in ((0, 0), (3, 0), (0, 2), (3, 3)):  # padding is no draw; a candidate without an anchor is one
        over_batches = jax.vmap(functools.partial(denominator, padding=padding, more=more), (None, 0))
        for each in jax.jit(jax.vmap(over_batches, (0, None)))(jnp.arange(4), batches):
            np.testing.assert_allclose(chance @ np.asarray(each, np.float64), np.sum(np.exp(scores)), rtol=50 * EPS)


def test_a_rare_positive_is_pulled_as_by_the_full_softmax():
    # 255 others drawn from q, model 0.05 at the positive of q = 8e-5: pull 1 - 0.05, not the 0.28 of a mask with
    # log q on the positive too
    size, rare, share = 256, 8e-5, 0.05
    rng = np.random.default_rng(0)
    log_q = np.log(np.concatenate([[rare], rng.dirichlet(np.ones(size - 1)) * (1 - rare)]))
    scores = np.concatenate([[np.log(share)], np.log(1 - share) + log_q[1:]])
    x, y = np.ones((size, 1)), scores[:, None]

    def pull(**options):
        total = lambda y: in_batch_info_nce(x, y, temperature=1.0, log_q=log_q, **options)[0]
        return -float(jax.grad(total)(jnp.asarray(y, FLOAT))[0, 0])

    np.testing.assert_allclose(pull(ids=np.arange(size)), 1 - share, rtol=100 * EPS)
    biased = float(jax.nn.sigmoid(jnp.log((size - 1) * rare * (1 / share - 1))))
    assert round(biased, 2) == 0.28
    np.testing.assert_allclose(pull(form="ranking"), biased, rtol=100 * EPS)  # less, for it keeps the hits
    with pytest.raises(ValueError, match=r"ranking.*biased with ids"):
        pull(ids=np.arange(size), form="ranking")


def test_ranking_has_the_truth_as_its_fixed_point():
    # all batches of three pairs from the joint law of two contexts and three items: no gradient at the truth
    contexts, items = np.array([0.6, 0.4]), np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    joint = contexts[:, None] * items
    pairs = np.array(list(itertools.product(range(6), repeat=3)))
    context, item = np.divmod(pairs, 3)
    chance = np.prod(joint[context, item], axis=1)
    log_q = np.log(contexts @ items)

    def mean_loss(scores, form):
        def one(context, item):
            ids = None if form == "ranking" else item
            x, y = jax.nn.one_hot(context, 2), scores.T[item]
            return jnp.sum(in_batch_info_nce(x, y, temperature=1.0, log_q=jnp.asarray(log_q)[item], ids=ids))

        return jnp.sum(chance * jax.vmap(one)(context, item))

    slope = jax.jit(jax.grad(mean_loss), static_argnums=1)
    truth = jnp.asarray(np.log(items), FLOAT)
    assert np.max(np.abs(slope(truth, "ranking"))) < 100 * EPS
    assert np.max(np.abs(slope(truth, "importance"))) > 0.01  # right in the limit of many draws only


def test_the_default_form_follows_the_ids():
    floats, others = example({"ids", "log_q"})
    ids, log_q = others["ids"], floats["log_q"]
    call = functools.partial(in_batch_info_nce, floats["x"], floats["y"], temperature=0.5, log_q=log_q)
    np.testing.assert_array_equal(call(), call(form="ranking"))
    np.testing.assert_array_equal(call(ids=ids), call(ids=ids, form="importance"))


def test_own_negatives_are_no_draws(tolerance):
    # weight 1 in both the uncorrected and the importance form: what they add to the denominator is the same
    floats, others = example({"ids", "log_q", "own"})
    without = {name: value for name, value in floats.items() if name != "own"}
    positive = np.sum(floats["x"] * floats["y"], axis=1) / TEMPERATURE
    mass = np.sum(np.exp(np.einsum("bd,bhd->bh", floats["x"], floats["own"]) / TEMPERATURE), axis=1)
    for log_q in ({}, {"log_q": floats["log_q"]}):
        both = [dict(f) for f in (floats, without)]
        for f in both:
            f.pop("log_q")
        high, low = (np.float64(in_batch_info_nce(**f, **others, **log_q)) for f in both)
        np.testing.assert_allclose(np.exp(high + positive) - np.exp(low + positive), mass, rtol=1e3 * EPS)


def test_biased_combinations_are_refused():
    floats, others = example({"ids", "log_q", "own"})
    x, y, own, log_q = (floats[name] for name in ("x", "y", "own", "log_q"))
    call = functools.partial(in_batch_info_nce, x, y, temperature=1.0)
    with pytest.raises(ValueError, match=r"importance.*counts it twice"):
        call(log_q=log_q, form="importance")
    with pytest.raises(ValueError, match=r"ranking.*biased with ids"):
        call(log_q=log_q, form="ranking", ids=others["ids"])
    with pytest.raises(ValueError, match="own negatives have none"):
        call(log_q=log_q, own=own)
    with pytest.raises(ValueError, match="there is none"):
        call(form="ranking")
    with pytest.raises(ValueError, match="form must be"):
        call(log_q=log_q, form="tfrs")


# --- Input


def test_bad_shapes():
    x, y = np.ones((3, 2)), np.ones((5, 2))
    call = functools.partial(in_batch_info_nce, x, y, temperature=1.0)
    for own in (np.ones((2, 1, 2)), np.ones((3, 2)), np.ones((3, 0, 2)), np.ones((3, 1, 4))):
        with pytest.raises(ValueError, match="own must have shape"):
            call(own=own)
    with pytest.raises(ValueError, match="there are none"):
        call(own_where=np.ones((3, 1), bool))
    with pytest.raises(ValueError, match="own_where"):
        call(own=np.ones((3, 1, 2)), own_where=np.ones((3, 2), bool))
    with pytest.raises(TypeError, match="own_where must be boolean"):
        call(own=np.ones((3, 1, 2)), own_where=np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"where must have shape \(3,\), or \(5,\)"):
        call(where=np.ones(4, bool))
    with pytest.raises(TypeError, match="where must be boolean"):
        call(where=np.ones(3))
    with pytest.raises(ValueError, match=r"ids must have shape \(5,\)"):
        call(ids=np.arange(3))
    with pytest.raises(ValueError, match=r"log_q must have shape \(5,\)"):
        call(log_q=np.zeros(3))


WIDE_IDS = (
    np.array([1, 1 + 2**32, 2, 2 + 2**32]),
    np.array([1, 1 + 2**63, 2, 2 + 2**63], np.uint64),
    np.array([2**53, 2**53 + 1, -(2**53), -(2**53) - 1]),
    [0, 2**40, 2**41, -(2**62)],
)


@pytest.mark.parametrize("ids", WIDE_IDS, ids=["int64", "uint64", "beyond floats", "a list"])
def test_ids_of_any_size_do_not_wrap(ids, tolerance):
    want = in_batch_info_nce(np.eye(4), np.eye(4), temperature=1.0)
    assert round(float(want[0]), 4) == 0.7437
    close(in_batch_info_nce(np.eye(4), np.eye(4), temperature=1.0, ids=ids), want, tolerance)
    close(losses.nt_xent(np.eye(4), temperature=1.0, ids=ids), losses.nt_xent(np.eye(4), temperature=1.0), tolerance)
    assert np.all(np.asarray(losses.sup_con(np.eye(4), ids, temperature=1.0)) == 0)  # four classes, not two
    loss = functools.partial(losses.info_nce, temperature=1.0)
    close(losses.in_batch(loss, np.eye(4), np.eye(4), ids=ids), want, tolerance)


@pytest.mark.parametrize("symmetric", [False, True])
def test_types_meet(symmetric):
    # 44 of these 96 ended in errors of lax under 64 bits
    types = (jnp.float32, jnp.float64) if PRECISION == 64 else (jnp.float32, jnp.float16)
    shape = lambda dtype, *size: jax.ShapeDtypeStruct(size, dtype)
    widest = lambda given: jnp.float64 if jnp.float64 in given else jnp.float32
    for x, y, own, log_q, tau in itertools.product(types, types, (None, *types), (None, *types), types):
        floats = {"x": shape(x, 3, 2), "y": shape(y, 4, 2), "temperature": shape(tau)}
        floats |= {} if own is None else {"own": shape(own, 3, 1, 2)}
        floats |= {} if log_q is None else {"log_q": shape(log_q, 4)}
        call = functools.partial(in_batch_info_nce, ids=np.arange(4), symmetric=symmetric)
        loss = jax.eval_shape(lambda f, call=call: call(**f), floats)
        assert loss.dtype == widest((x, y, own, log_q, tau))
        slopes = jax.eval_shape(jax.grad(lambda f, call=call: jnp.sum(call(**f))), floats)
        assert {name: slope.dtype for name, slope in slopes.items()} == {n: f.dtype for n, f in floats.items()}


@sides
def test_nan_reaches_the_loss_even_where_no_negative_is_left(symmetric):
    call = jax.jit(functools.partial(in_batch_info_nce, symmetric=symmetric))
    for temperature in (0.0, -1.0, np.nan, np.inf):
        assert np.all(np.isnan(call(np.eye(3), np.eye(3), temperature=FLOAT(temperature))))
        assert np.all(np.isnan(call(np.eye(1), np.eye(1), temperature=FLOAT(temperature))))
    huge = np.full((2, 2), FLOAT(np.finfo(FLOAT).max))
    assert np.all(np.isnan(call(huge, huge, temperature=FLOAT(1.0))))  # scores that overflow are no perfect loss
    bad = jax.jit(lambda q: in_batch_info_nce(np.eye(3), np.eye(3), temperature=1.0, log_q=q, symmetric=symmetric))
    for entry in (np.nan, -np.inf):
        assert np.all(np.isnan(bad(jnp.array([entry, -1.0, -1.0], FLOAT))[1:]))


# --- Memory


def test_own_negatives_take_no_memory_of_the_concatenation():
    size, own, depth = 2048, 4, 32

    def program(loss, *shapes):
        arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        gradient = jax.jit(jax.grad(lambda *a: jnp.mean(loss(*a)), tuple(range(len(arrays)))))
        return gradient.lower(*arrays).compile().memory_analysis().temp_size_in_bytes

    ours = lambda x, y, o: in_batch_info_nce(x, y, temperature=0.1, own=o, block_size=64)
    shapes = (size, depth), (size, depth), (size, own, depth)
    small = program(ours, *shapes)
    assert small < 4 * (8 * (2 * size + size * own) * depth + 8 * 64 * size)  # O((b + n) d + n block + b h d)
    assert small < 4 * size * (size + size * own) / 8  # an eighth of the scores by concatenation
