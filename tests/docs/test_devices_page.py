"""The script of docs/devices.md, by its own launch lines: the same numbers on one device, eight, and two hosts."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments import __main__ as experiments
from experiments import _claim
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.S))
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()]


def start(line, folder, **environment):
    """A launch line in a folder that has train.py, with this Python first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    root = str(ROOT)
    environment = os.environ | {"PATH": path, "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"} | environment
    (folder / "train.py").write_text(SCRIPT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(["bash", "-c", line], cwd=folder, env=environment, **pipes)


def output(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-3000:]
    return "".join(line for line in out.splitlines(keepends=True) if not line.startswith("[Gloo]"))


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="forced host devices")
def test_the_page_says_the_same_everywhere(tmp_path):
    assert len(LINES) == 7
    one, some, eight = LINES[:3]
    assert some.endswith(one)
    for name in ("one", "eight", "hosts"):
        (tmp_path / name).mkdir()
    alone = output(start(one, tmp_path / "one"))
    assert alone.count("\n") == 3
    assert "gradient shared as the batch: True" in alone
    assert output(start(some, tmp_path / "one")) == alone, "read from the checkpoints"
    assert output(start(eight, tmp_path / "eight")) == alone
    assert output(start(eight, tmp_path / "one")) == alone, "checkpoints of one device, on eight"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    lines = [line.replace("10.0.0.1:1234", f"localhost:{port}") for line in LINES[3:5]]
    hosts = [start(line, tmp_path / "hosts", **two) for line in lines]
    assert [output(host) for host in hosts] == [alone, alone]


def test_claims_take_their_devices_by_the_flag():
    """The launch lines for claims are read by the command line itself."""
    words = [shlex.split(line) for line in LINES[5:]]
    assert [w[:4] for w in words] == [["python", "-m", "experiments", "run"]] * 2
    everything, some = (experiments.parser().parse_args(w[3:]) for w in words)
    assert experiments.select(everything.claims) == list(_claim.claims())
    assert experiments.select(some.claims) == some.claims
    assert (everything.devices, some.devices) == (None, 2)
