"""Training with tables shared out by rows: the same on 1, 2, 4 and 8 devices, and no device with a whole table."""

import json
import os
import subprocess
import sys

from tests.helpers import PRECISION

# sizes that no mesh divides: 50 words, 3 blocks a step, 15 nodes, 5 relations a step
ON_EIGHT_DEVICES = """
import json, os, re
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", os.environ["NSX_PRECISION"] == "64")
jax.config.update("jax_numpy_rank_promotion", "raise")
from nsx import hierarchies, words
from nsx.hierarchies import _epoch as tree_epoch
from nsx.words import _epoch as word_epoch

tokens = np.random.default_rng(0).integers(0, 50, 600)
tree = hierarchies.transitive_closure([[i, (i - 1) // 2] for i in range(1, 15)], num_nodes=15)
dtype = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
text = {"vocabulary_size": 50, "window": 2, "epochs": 2, "threshold": None, "blocks_per_step": 3, "learning_rate": 0.1,
        "sentence": np.arange(600) // 9}
nodes = {"num_nodes": 15, "batch_size": 5, "negatives": 4, "burn_in": 1, "learning_rate": 1.0,
         "geometry": hierarchies.ball_geometry(margin=0.5)}  # points are settled on a ball of half the size

def train(mesh):
    sgns = words.train_sgns(jax.random.key(1), tokens, dimension=6, dtype=dtype, mesh=mesh, **text)
    yield "words", (*sgns.embedding, sgns.losses)
    if mesh is None or mesh.devices.ndim == 1:
        yield "tree", hierarchies.train(jax.random.key(2), tree, dimension=3, epochs=6, dtype=dtype, mesh=mesh,
                                               **nodes)

def largest(got, want):
    return max(float(np.max(np.abs(np.asarray(g) - np.asarray(w)) / np.max(np.abs(w)))) for g, w in zip(got, want))

auto = jax.sharding.AxisType.Auto
meshes = {str(n): jax.make_mesh((n,), ("device",), axis_types=(auto,), devices=jax.devices()[:n]) for n in (1, 2, 4, 8)}
meshes["2 x 4"] = jax.make_mesh((2, 4), ("host", "device"), axis_types=(auto, auto))
alone = dict(train(None))
size = {"context": float(jnp.max(jnp.abs(alone["words"][1]))),
        "norm": float(jnp.max(jnp.linalg.norm(alone["tree"].points, axis=1)))}
errors = {f"{part} on {name}": largest(values, alone[part]) for name, m in meshes.items() for part, values in train(m)}

# what each device holds: 56 and 16 rows, zeros at the end, are 7 and 2 a device
mesh, key = meshes["8"], jax.random.key(3)
plan, hierarchy = words.sgns_plan(tokens, **text), hierarchies.plan(tree, **nodes)
start = words.sgns_init(key, plan, dimension=6, dtype=dtype, mesh=mesh)
points = hierarchies.init(key, hierarchy, dimension=3, dtype=dtype, mesh=mesh)
held = sorted({s.data.shape for x in (start.embedding.word, points.points) for s in x.addressable_shards})
programs = [word_epoch.epoch_in_place.lower(key, plan, start, mesh=mesh).compile().as_text(),
            tree_epoch.epoch_in_place.lower(key, hierarchy, points, mesh=mesh).compile().as_text()]
count = lambda shape: [len(re.findall(rf"f(?:32|64)\\[{shape}\\]", program)) for program in programs]
added = words.sgns_epoch(key, plan, start, mesh=mesh)[0].embedding.context[50:]
refused = []
for f in (lambda: words.sgns_epoch(key, plan, words.sgns_init(key, plan, dimension=6), mesh=mesh),
          lambda: hierarchies.epoch(key, hierarchy, hierarchies.init(key, hierarchy), mesh=mesh)):
    try:
        f()
    except ValueError as error:
        refused.append(str(error))
print(json.dumps({"errors": errors, "size": size, "held": held, "whole": count("(?:56,6|50,6)")[0] +
                  count("(?:16,3|15,3)")[1], "parts": [count("7,6")[0], count("2,3")[1]], "refused": refused,
                  "added": float(jnp.max(jnp.abs(added)))}))
"""


def test_eight_devices_train_as_one():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "NSX_PRECISION": str(PRECISION),
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT_DEVICES], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["errors"]) == 9
    assert found["size"]["context"] > 0.05, "the tables moved"
    assert abs(found["size"]["norm"] - 0.5) < 1e-6, "the points moved and were settled"
    bound = 1e-12 if PRECISION == 64 else 1e-4  # some 50 steps, each of which rounds
    assert all(error < bound for error in found["errors"].values()), found["errors"]
    assert found["held"] == [[2, 3], [7, 6]]
    assert found["whole"] == 0, "a device held a whole table"
    assert min(found["parts"]) > 0
    assert found["added"] == 0
    assert len(found["refused"]) == 2
    assert "tables of 50 rows cannot be shared by the 8 devices" in found["refused"][0]
    assert "points of 15 rows cannot be shared by the 8 devices" in found["refused"][1]
