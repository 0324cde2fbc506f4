"""Everything an in-batch loss takes, and gradient caching, on a mesh: the same numbers as on one device."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import PRECISION

ON_FOUR_DEVICES = """
import json, os
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", os.environ["NSX_PRECISION"] == "64")
jax.config.update("jax_numpy_rank_promotion", "raise")
from jax.sharding import AxisType, PartitionSpec as P
from nsx import losses

DEVICES, PAIRS, MORE, DEPTH = 4, 3, 2, 5  # per device: 3 pairs and 2 more candidates, its pairs first
b, n = DEVICES * PAIRS, DEVICES * (PAIRS + MORE)
mesh = jax.make_mesh((DEVICES,), ("device",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
x, y, own = (jnp.asarray(rng.normal(size=s)) for s in ((b, DEPTH), (n, DEPTH), (b, 2, DEPTH)))
log_q, ids = jnp.asarray(rng.uniform(-4, -1, n)), jnp.asarray(rng.integers(0, 6, n))
where, own_where = jnp.arange(n) % 4 != 1, jnp.asarray(rng.random((b, 2)) < 0.7)
weights = jnp.linspace(-1, 2, b)
errors = {}

# the batch of all devices in the order of one: all pairs, then all other candidates
places = np.arange(n).reshape(DEVICES, PAIRS + MORE)
order = np.concatenate([places[:, :PAIRS].ravel(), places[:, PAIRS:].ravel()])

def largest(got, want):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(jnp.max(jnp.abs(g - w)) / jnp.max(jnp.abs(w))) for g, w in pairs)

CASES = {
    "importance and all the rest": dict(own=own, own_where=own_where, where=where, ids=ids, log_q=log_q),
    "ranking": dict(log_q=log_q),
}

def differentiated(f, x, y, options):
    floats = {k: v for k, v in options.items() if k in ("own", "log_q")}
    rest = {k: v for k, v in options.items() if k not in floats}
    total = lambda x, y, floats: (lambda l: (jnp.sum(weights * l), l))(f(x, y, floats | rest))
    (_, loss), slopes = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(x, y, floats)
    return loss, *slopes

spoil = lambda counts, a: jnp.where(counts.reshape(-1, *[1] * (a.ndim - 1)), a, jnp.nan)
for name, options in CASES.items():
    for symmetric in (False, True):
        fixed = {"temperature": 0.5, "symmetric": symmetric, "block_size": 2}
        call = lambda x, y, o, **more: losses.in_batch_info_nce(x, y, **fixed, **o, **more)
        part = lambda x, y, o: call(x, y, o, axis_name="device")
        ring = jax.shard_map(part, mesh=mesh, in_specs=P("device"), out_specs=P("device"))
        given, data = dict(options), (x, y)
        if "where" in options:  # padding of every device is NaN, which may reach nobody
            pairs = where.reshape(DEVICES, -1)[:, :PAIRS].ravel()
            data = spoil(pairs, x), spoil(where, y)
            if "log_q" in given:
                given["log_q"] = spoil(where, log_q)
        got = differentiated(ring, *data, given)
        ordered = {k: v[order] if len(v) == n else v for k, v in options.items()}
        loss, dx, dy, slopes = differentiated(call, x, y[order], ordered)
        back = np.argsort(order)
        want = loss, dx, dy[back], {k: v[back] if len(v) == n else v for k, v in slopes.items()}
        errors[f"{name}, {symmetric=}"] = largest(got, want)

# any loss by rows
loss = lambda p, s, where: losses.info_nce(p, s, temperature=0.5, where=where)
options = dict(own=own, own_where=own_where, where=where)
part = lambda x, y, o: losses.in_batch(loss, x, y, axis_name="device", block_size=2, **o)
rows = jax.shard_map(part, mesh=mesh, in_specs=P("device"), out_specs=P("device"))(x, y, options)
ordered = {k: v[order] if len(v) == n else v for k, v in options.items()}
errors["by rows"] = largest(rows, losses.in_batch(loss, x, y[order], **ordered))

# gradient caching: parameters on every device, rows shared out, one sum at the end
params = {"w": jnp.asarray(rng.normal(size=(DEPTH, 4))), "log_t": jnp.asarray(-0.5)}
encode = lambda params, rows: jnp.tanh(rows @ params["w"])
towers = {"x": encode, "y": encode}
batch = {"x": x, "y": y}

def mean_loss(params, e, axis_name=None):
    t = jnp.exp(params["log_t"])
    return jnp.sum(losses.in_batch_info_nce(e["x"], e["y"], temperature=t, axis_name=axis_name)) / b

direct = lambda params: mean_loss(params, {"x": encode(params, x), "y": encode(params, y[order])})
want = jax.value_and_grad(direct)(params)
cached = losses.cached_value_and_grad(
    towers, lambda p, e: mean_loss(p, e, "device"), chunk_size=2, axis_name="device"
)
programs = {}
for check in (True, False):
    f = jax.jit(jax.shard_map(cached, mesh=mesh, in_specs=(P(), P("device")), out_specs=P(), check_vma=check))
    errors[f"cached, check_vma={check}"] = largest(f(params, batch), want)
    programs[check] = f.lower(params, batch).compile().as_text().count(" all-reduce(")

# dropout: each device its own key, the same in both passes
def dropped(params, rows, key):
    h = encode(params, rows)
    return h * jax.random.bernoulli(key, 0.7, h.shape)

def on_device(params, rows, key):
    key = jax.random.fold_in(key, jax.lax.axis_index("device"))
    f = losses.cached_value_and_grad(
        {"x": dropped, "y": dropped}, lambda p, e: mean_loss(p, e, "device"), chunk_size=2, axis_name="device"
    )
    return f(params, rows, key=key)

def plainly(params, x, y, key):
    key = jax.random.fold_in(key, jax.lax.axis_index("device"))
    f = lambda rows, first: jnp.concatenate(
        [dropped(params, rows[i : i + 2], jax.random.fold_in(key, first + i // 2)) for i in range(0, len(rows), 2)]
    )
    return losses.in_batch_info_nce(f(x, 0), f(y, 2), temperature=jnp.exp(params["log_t"]), axis_name="device")

key = jax.random.key(0)
got = jax.jit(jax.shard_map(on_device, mesh=mesh, in_specs=(P(), P("device"), P()), out_specs=P()))(params, batch, key)
outside = jax.shard_map(plainly, mesh=mesh, in_specs=(P(), P("device"), P("device"), P()), out_specs=P("device"))
want = jax.jit(jax.value_and_grad(lambda p: jnp.mean(outside(p, x, y, key))))(params)
errors["cached with dropout"] = largest(got, want)
print(json.dumps({"errors": errors, "sums": [programs[True], programs[False]]}))
"""


@pytest.mark.slow
def test_four_devices_are_one():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "NSX_PRECISION": str(PRECISION),
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["errors"]) == 8
    bound = 1e-12 if PRECISION == 64 else 1e-5
    assert all(error < bound for error in found["errors"].values()), found["errors"]
    # value and two parameters, summed once and not once per chunk
    assert max(found["sums"]) <= 3
