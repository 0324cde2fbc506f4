"""Shape annotations are true: every public function is called with beartype checking all of nsx's annotations."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.slow  # shapes and kinds are the same in both precisions


def test_annotations_allow_what_functions_take_and_give():
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.annotations"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["in force"], "the import hook checks nothing"
    assert not found["wrong"], "\n\n".join(f"{name}: {words[:800]}" for name, words in found["wrong"].items())
