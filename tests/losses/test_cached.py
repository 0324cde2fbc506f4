"""Gradient caching: the direct gradient, in the memory of one chunk, with the same dropout in both passes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses
from tests.helpers import FLOAT, close

DEPTH, WIDTH = 4, 6


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *size: jnp.asarray(rng.normal(size=size), FLOAT)
    return {"query": draw(DEPTH, WIDTH), "document": draw(DEPTH, WIDTH), "log_temperature": jnp.asarray(-0.3, FLOAT)}


def batch(queries, documents, seed=1):
    rng = np.random.default_rng(seed)
    draw = lambda rows: jnp.asarray(rng.normal(size=(rows, DEPTH)), FLOAT)
    return {"query": draw(queries), "document": draw(documents)}


def tower(name):
    def encode(params, rows, key=None):
        hidden = jnp.tanh(rows @ params[name])
        return hidden if key is None else hidden * jax.random.bernoulli(key, 0.7, hidden.shape)

    return encode


TOWERS = {"query": tower("query"), "document": tower("document")}


def pair_loss(params, embeddings, where=None, axis_name=None):
    """A sum with a temperature of its own, so that the loss takes parameters too."""
    temperature = jnp.exp(params["log_temperature"])
    x, y = embeddings["query"], embeddings["document"]
    return jnp.sum(losses.in_batch_info_nce(x, y, temperature=temperature, where=where, axis_name=axis_name))


def direct(params, rows, *rest):
    """The same by `jax.value_and_grad` of everything at once."""
    whole = lambda p: pair_loss(p, {name: encode(p, rows[name]) for name, encode in TOWERS.items()}, *rest)
    return jax.value_and_grad(whole)(params)


def same(got, expected, tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.max(np.abs(b)) > 0
        close(a, b, tolerance, scale=10)


@pytest.mark.parametrize("chunk_size", [1, 4, 5, 11, 64])
def test_it_is_the_direct_gradient(chunk_size, tolerance):
    # 11 queries and 15 documents: last chunks of 3 and 3, 1 and none, none and 4, a single one
    params, rows, where = parameters(), batch(11, 15), jnp.arange(11) < 9
    cached = jax.jit(losses.cached_value_and_grad(TOWERS, pair_loss, chunk_size=chunk_size))
    same(cached(params, rows, where), jax.jit(direct)(params, rows, where), tolerance)


def test_against_finite_differences(tolerance):
    params, rows = parameters(), batch(5, 7)
    _, slopes = jax.jit(losses.cached_value_and_grad(TOWERS, pair_loss, chunk_size=2))(params, rows)

    def value(params):
        """The loss by NumPy, in float64."""
        x, y = (np.tanh(np.asarray(rows[n], np.float64) @ params[n]) for n in ("query", "document"))
        z = x @ y.T / np.exp(params["log_temperature"])
        return np.sum(np.log(np.sum(np.exp(z), axis=1)) - np.diagonal(z))

    at = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    for name, slope in slopes.items():
        for place in np.ndindex(np.shape(slope)):
            bump = np.zeros(np.shape(slope))
            bump[place] = 1e-5
            expected = (value(at | {name: at[name] + bump}) - value(at | {name: at[name] - bump})) / 2e-5
            close(slope[place], expected, max(tolerance, 1e-9), scale=10)


def test_one_tower_with_a_pytree_for_a_batch(tolerance):
    # tokens with a mask, and a hard negative of each anchor: encoded in one call, chunk by chunk
    rng = np.random.default_rng(2)
    tokens, kept = rng.integers(0, 9, (10, 3, 5)), rng.random((10, 3, 5)) < 0.8
    table = jnp.asarray(rng.normal(size=(9, WIDTH)), FLOAT)

    def encode(table, rows):
        vectors = jnp.where(rows["kept"][..., None], table[rows["tokens"]], 0)
        means = jnp.mean(vectors, axis=2)
        return {"anchor": means[:, 0], "positive": means[:, 1], "own": means[:, 2:]}

    def loss(table, embeddings):
        x, y, own = (embeddings[name] for name in ("anchor", "positive", "own"))
        return jnp.mean(losses.in_batch_info_nce(x, y, temperature=0.5, own=own))

    rows = {"tokens": tokens, "kept": kept}
    cached = jax.jit(losses.cached_value_and_grad(encode, loss, chunk_size=4))
    same(cached(table, rows), jax.jit(jax.value_and_grad(lambda t: loss(t, encode(t, rows))))(table), tolerance)


def test_dropout_is_the_same_in_both_passes(key, tolerance):
    # the direct gradient of the chunks encoded with the keys that the docstring promises
    params, rows = parameters(), batch(11, 13)

    def whole(params):
        embeddings, chunk = {}, 0
        for name in sorted(TOWERS):
            parts = []
            for start in range(0, len(rows[name]), 4):
                key_of_chunk = jax.random.fold_in(key, chunk)
                parts.append(TOWERS[name](params, rows[name][start : start + 4], key_of_chunk))
                chunk += 1
            embeddings[name] = jnp.concatenate(parts)
        return pair_loss(params, embeddings)

    cached = jax.jit(losses.cached_value_and_grad(TOWERS, pair_loss, chunk_size=4))
    got = cached(params, rows, key=key)
    same(got, jax.jit(jax.value_and_grad(whole))(params), tolerance)
    other = cached(params, rows, key=jax.random.fold_in(key, 99))
    assert abs(float(other[0]) - float(got[0])) > 0.1


def test_half_precision_is_summed_in_float32():
    # 4,096 rows of slope 2^-9 to a parameter near 1: bfloat16 would stop adding at 2^-1
    rows = jnp.full((4096, 1), 2.0**-9, jnp.bfloat16)
    cached = losses.cached_value_and_grad(lambda w, r: w * r, lambda w, e: jnp.sum(e), chunk_size=1)
    _, slope = jax.jit(cached)(jnp.ones((), jnp.bfloat16), rows)
    assert slope.dtype == jnp.bfloat16
    assert float(slope) == 8.0


def test_memory_is_that_of_one_chunk():
    # an encoder of six wide layers: its activations of all rows at once against those of 64 at a time
    params = jax.ShapeDtypeStruct((6, 128, 128), jnp.float32)
    rows = jax.ShapeDtypeStruct((4096, 128), jnp.float32)
    encode = lambda params, x: functools.reduce(lambda x, w: jnp.tanh(x @ w), params, x)[:, :8]
    loss = lambda params, e: jnp.mean(losses.in_batch_info_nce(e, jnp.flip(e, 1), temperature=1.0, block_size=64))
    memory = lambda f: jax.jit(f).lower(params, rows).compile().memory_analysis().temp_size_in_bytes
    whole = memory(jax.value_and_grad(lambda params, rows: loss(params, encode(params, rows))))
    cached = memory(losses.cached_value_and_grad(encode, loss, chunk_size=64))
    assert cached < whole / 3


def test_a_mapped_axis_sums_once(tolerance):
    # rows over four devices of a mapped axis: value and gradient of the whole batch, the same on each
    params, rows = parameters(), batch(12, 20)
    loss = functools.partial(pair_loss, axis_name="device")
    cached = losses.cached_value_and_grad(TOWERS, loss, chunk_size=2, axis_name="device")
    fold = jax.tree.map(lambda a: a.reshape(4, -1, *a.shape[1:]), rows)
    value, slopes = jax.jit(jax.vmap(cached, (None, 0), axis_name="device"))(params, fold)
    # each device has its pairs first in its own documents
    local = rows["document"].reshape(4, 5, DEPTH)
    order = jnp.concatenate([local[:, :3].reshape(12, DEPTH), local[:, 3:].reshape(8, DEPTH)])
    expected = direct(params, {"query": rows["query"], "document": order})
    same((value[0], jax.tree.map(lambda a: a[2], slopes)), expected, tolerance)


def test_bad_input():
    identity = lambda params, rows: params * rows
    total = lambda params, embeddings: jnp.sum(embeddings)
    make = functools.partial(losses.cached_value_and_grad, identity, total)
    with pytest.raises(ValueError, match="chunk_size"):
        make(chunk_size=0)
    with pytest.raises(TypeError, match="chunk_size"):
        make(chunk_size=2.0)
    f = make(chunk_size=2)
    for rows in ({"a": jnp.ones((3, 1)), "b": jnp.ones((4, 1))}, jnp.ones((0, 1)), jnp.ones(()), {}):
        with pytest.raises(ValueError, match="one leading length"):
            f(1.0, rows)
    with pytest.raises(ValueError, match="one row per row"):
        losses.cached_value_and_grad(lambda p, rows: jnp.sum(p * rows), total, chunk_size=2)(1.0, jnp.ones((3, 1)))
    towers = losses.cached_value_and_grad({"a": identity, "b": identity}, total, chunk_size=2)
    for rows in ({"a": jnp.ones((3, 1))}, jnp.ones((3, 1))):
        with pytest.raises(ValueError, match="names of the towers"):
            towers(1.0, rows)
    with pytest.raises(TypeError, match="real- or complex-valued"):
        f(1, jnp.ones((3, 1)))
