"""Replicates over several devices: the numbers of one device, each device only its part, and the flag of the runner."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import __main__ as cli
from experiments import _claim, _devices
from tests.helpers import PRECISION

ON_EIGHT_DEVICES = """
import json, os
from functools import partial
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", os.environ["NSX_PRECISION"] == "64")
jax.config.update("jax_numpy_rank_promotion", "raise")
from experiments._devices import over_devices, use
use(8)  # cuts the CPU
use(1)

@jax.jit
def helper(x):  # traced outside of a map and inside one
    return jnp.sum(over_devices(jnp.cos, x * jnp.arange(1.0, 6.0)))

def row(entry):
    key, x = entry
    drawn = jax.random.uniform(key, (3,))
    return {"pair": (x * drawn, x > 2), "nested": over_devices(jnp.exp, jnp.arange(5.0) / 9 - x), "helped": helper(x)}

@partial(jax.jit, static_argnums=0)
def inside(size):
    keys, x = jax.random.split(jax.random.key(size), size), jnp.arange(size) + 0.5
    found = over_devices(row, (keys, x))
    batched = over_devices(lambda x: jnp.outer(x * jnp.ones(2), jnp.ones(3)), x, batch_size=2)
    return found, over_devices(jnp.tan, x, together=True), batched, helper(jnp.mean(found["pair"][0]))

def everything(size):
    eager = over_devices(jnp.sin, jnp.arange(1.0 * size)) if size == 7 else ()
    return jax.device_get((inside(size), eager))

sines = jax.jit(lambda x: over_devices(jnp.sin, x))  # a program of before must not serve other devices

def lengths(size):  # of the loops of one device
    program = str(jax.make_jaxpr(sines)(jnp.arange(1.0 * size)))
    return [int(part.split()[0]) for part in program.split("length=")[1:]]

def error(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    pairs = list(zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True))
    assert all(g.shape == w.shape and g.dtype == w.dtype for g, w in pairs)
    return max(float(np.max(np.abs(1.0 * g - 1.0 * w))) for g, w in pairs)

sizes = (1, 2, 7, 8, 9)
alone = {size: everything(size) for size in sizes}
found = {}
for count in (3, 8, 1):
    use(count)
    found[count] = {"error": max(error(everything(size), alone[size]) for size in sizes), "lengths": lengths(9)}
print(json.dumps(found))
"""


# on a pool of two threads, which is what two cores get, this waits for ever unless `use` asks for more
LAPACK_ON_TWO_DEVICES = """
import jax, jax.numpy as jnp
from experiments._devices import over_devices, use
use(2)

@jax.jit
def solve(key):
    drawn = over_devices(lambda k: jax.random.uniform(k, (5, 5)), jax.random.split(key, 4))
    step = lambda a: jax.lax.scan(lambda x, _: (jnp.linalg.solve(a, x) / 9, None), jnp.ones_like(a), length=10)[0]
    return [step(jnp.tile(jnp.eye(5) + jnp.mean(drawn, axis=0) / 9, (n, 1, 1))) for n in (3000, 4000)]

for i in range(6):
    jax.block_until_ready(solve(jax.random.key(i)))
print("done")
"""


def run(*command, **environment):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "NSX_PRECISION": str(PRECISION)} | environment
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=_claim.ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="forced host devices")
def test_the_same_numbers_on_one_three_and_eight_devices():
    done = run("-c", ON_EIGHT_DEVICES)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    rounding = 1e-13 if PRECISION == 64 else 1e-5
    assert {count: values["error"] < rounding for count, values in found.items()} == {"3": True, "8": True, "1": True}
    assert {count: values["lengths"] for count, values in found.items()} == {"3": [3], "8": [2], "1": [9]}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="forced host devices")
def test_devices_that_solve_at_once_do_not_wait_for_each_other():
    assert run("-c", LAPACK_ON_TWO_DEVICES).stdout == "done\n"


CHEAP = ("false_negatives", "pmi_spectrum")


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="forced host devices")
def test_claims_find_the_same_on_several_devices(tmp_path):
    for count in ("1", "3"):
        command = ["run", *CHEAP, "--size", "quick", "--devices", count, "--out", str(tmp_path / count)]
        done = run("-m", "experiments", *command)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for slug in CHEAP:
        one, three = (np.load(tmp_path / count / f"{slug}.npz") for count in "13")
        for name in one:
            np.testing.assert_allclose(three[name], one[name], rtol=1e-12, atol=1e-12, err_msg=f"{slug}: {name}")
        verdicts = [json.loads((tmp_path / count / f"{slug}.json").read_text())["verdict"] for count in "13"]
        assert verdicts[0] == verdicts[1]


def test_all_takes_what_is_there():
    assert _devices.use(None) == len(jax.devices())
    assert _devices.in_use() == jax.devices()
    assert _devices.use() == 1
    assert _devices.in_use() == jax.devices()[:1]


def test_more_devices_than_there_are(capsys, tmp_path):
    asked = len(jax.devices()) + 1  # the backend has started, so a CPU cannot be cut any more
    assert cli.main(["run", "push_pull", "--devices", str(asked), "--out", str(tmp_path)]) == 2
    assert f"{asked} devices were asked for; there are {asked - 1}" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_a_number_of_devices_is_a_number(count, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parser().parse_args(["run", f"--devices={count}"])
    assert stop.value.code == 2
    assert "neither a positive number nor 'all'" in capsys.readouterr().err


def test_only_one_device_writes_the_committed_figures():
    folder = lambda *options: cli.default_out(cli.parser().parse_args(["run", *options]))
    assert folder() == folder("--devices", "1") == _claim.ROOT / "figures"
    assert folder("--devices", "4").name == "full-64-seed0-devices-4"
    assert folder("--devices", "all").name == "full-64-seed0-devices-all"
    assert folder("--devices", "4", "--size", "device") == _claim.ROOT / "figures" / "device"
