"""The script of docs/big_batches.md prints what the page says, on one device and on four."""

import os
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "big_batches.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.S))
PRINTED = "".join(re.findall(r"```text\n(.*?)```", PAGE, flags=re.S))


def run(**environment):
    """What the script prints, in float32."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_page_prints_what_it_says():
    assert run() == PRINTED


@pytest.mark.slow
def test_four_devices_print_the_same():
    assert run(XLA_FLAGS="--xla_force_host_platform_device_count=4") == PRINTED
