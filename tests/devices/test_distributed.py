"""Two real processes joined on loopback: the same losses and gradients as one device, and an end when one dies."""

import json
import os
import socket
import subprocess
import sys

import jax
import pytest

PROCESS = """
import json, os, sys
import jax, jax.numpy as jnp, numpy as np
rank, port = int(sys.argv[1]), sys.argv[2]
if rank == 1 and "--die" in sys.argv:
    sys.exit(3)
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank, initialization_timeout=20)
jax.config.update("jax_enable_x64", True)
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from nsx.losses import in_batch_info_nce

b = 24
x, y = np.random.default_rng(6).normal(size=(2, b, 5))
weights = np.linspace(-1, 2, b)
mesh = jax.make_mesh((4,), ("shard",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("shard"))
share = lambda a: jax.make_array_from_callback(a.shape, rows, lambda where: a[where])
errors = {}
for symmetric in (False, True):
    def loss(x, y, axis_name=None, symmetric=symmetric):
        return in_batch_info_nce(x, y, temperature=0.5, symmetric=symmetric, block_size=4, axis_name=axis_name)
    ring = jax.shard_map(lambda x, y: loss(x, y, "shard"), mesh=mesh, in_specs=P("shard"), out_specs=P("shard"))
    value = lambda f: lambda x, y, w: jax.value_and_grad(lambda x, y: jnp.sum(w * f(x, y)), (0, 1))(x, y)
    got = jax.jit(value(ring))(share(x), share(y), share(weights))
    got = multihost_utils.process_allgather(got, tiled=True)
    want = value(loss)(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights))
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    errors[str(symmetric)] = max(float(np.max(np.abs(g - w)) / np.max(np.abs(w))) for g, w in pairs)
program = jax.jit(value(ring)).lower(share(x), share(y), share(weights)).compile().as_text()
print(json.dumps({"devices": jax.device_count(), "errors": errors, "gathers": program.count("all-gather(")}))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(*options):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    port = str(free_port())
    command = [sys.executable, "-c", PROCESS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([*command, str(r), port, *options], env=environment, **pipes) for r in range(2)]


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="loopback needs the CPU's collectives")
def test_two_processes_are_one_device():
    ends = [(p.communicate(timeout=240), p.returncode) for p in start()]
    for (out, err), code in ends:
        assert code == 0, err
        found = json.loads(out.splitlines()[-1])
        assert found["devices"] == 4
        assert found["gathers"] == 0, "no device holds the whole batch"
        assert len(found["errors"]) == 2
        assert max(found["errors"].values()) < 1e-12


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="loopback needs the CPU's collectives")
def test_a_process_that_dies_ends_the_run():
    survivor, dead = start("--die")
    dead.communicate(timeout=60)
    assert dead.returncode == 3
    _, err = survivor.communicate(timeout=120)
    assert survivor.returncode != 0
    assert "deadline" in err.lower() or "timed out" in err.lower() or "barrier" in err.lower(), err[-500:]
