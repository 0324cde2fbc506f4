"""The code of docs/log_q.md runs as a reader would run it, and prints what the page says."""

import os
import re
import subprocess
import sys

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "log_q.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.S))
PRINTED = "".join(re.findall(r"```text\n(.*?)```", PAGE, flags=re.S))


def test_the_page_prints_what_it_says(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == PRINTED
    assert "0.95" in PRINTED
