"""The cache of compiled programs: shared by processes side by side, whole after a kill, healed after damage."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import pytest

from experiments import _compiled
from tests.helpers import ROOT

pytestmark = pytest.mark.slow  # what is kept are bytes, whatever the precision

# five programs of their own for each number; says what they give and how many of them were found
PROGRAMS = """
import json, os, signal, sys
import jax, jax.numpy as jnp
from jax import monitoring
from experiments import _compiled

found = []
monitoring.register_event_listener(lambda name, **_: found.append(name) if name.endswith("/cache_hits") else None)
assert _compiled.keep()
{before}
values = [float(jax.jit(lambda x, n=n: jnp.sin(x * n) + n)(1.0)) for n in range(5)]
print(json.dumps({{"values": values, "found": len(found)}}))
"""
VALUES = [0.0, 1.8414709848, 2.9092974268, 3.1411200081, 3.2431975047]  # sin n + n
KILLED = {
    "half of an entry written": """
write = _compiled.Path.write_bytes
def half(path, content):
    write(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
_compiled.Path.write_bytes = half
""",
    "written and without its name": """
def stop(*_):
    os.kill(os.getpid(), signal.SIGKILL)
_compiled.os.replace = stop
""",
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "programs"


def start(folder, before=""):
    """A process of its own in which every warning is an error."""
    environment = os.environ | {"NSX_PROGRAMS": str(folder), "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "true"}
    command = [sys.executable, "-W", "error", "-c", PROGRAMS.format(before=before)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=-1, stderr=-1, text=True)


def finish(process):
    """What a process found, once its values are right."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    answer = json.loads(out)
    assert answer["values"] == pytest.approx(VALUES, rel=1e-9)
    return answer["found"]


def entries(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_programs_are_kept_for_the_next_process(folder):
    assert finish(start(folder)) == 0
    first = entries(folder)
    assert finish(start(folder)) >= 5
    assert entries(folder) == first
    assert all(name.endswith(_compiled.ENTRY) for name in first)


@pytest.mark.parametrize("moment", KILLED)
def test_a_writer_killed_at_any_moment_leaves_nothing_that_is_read(folder, moment):
    killed = start(folder, KILLED[moment])
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    left = list(folder.iterdir())
    assert len(left) == 1, "what was being written"
    assert not left[0].name.endswith(_compiled.ENTRY)
    assert finish(start(folder)) == 0
    assert finish(start(folder)) >= 5
    os.utime(left[0], (time.time() - 7200,) * 2)
    _compiled.Entries(folder)
    assert not left[0].exists(), "an old one was swept away"


DAMAGES = (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:20])


def test_damaged_entries_heal(folder):
    finish(start(folder))
    whole = entries(folder)
    assert len(whole) > len(DAMAGES)
    for i, file in enumerate(sorted(folder.iterdir())):
        file.write_bytes(DAMAGES[i % len(DAMAGES)](file.read_bytes()))
    assert finish(start(folder)) == 0
    assert set(entries(folder)) == set(whole)
    assert finish(start(folder)) >= 5


def test_processes_side_by_side(folder):
    for process in [start(folder) for _ in range(3)]:
        finish(process)
    assert finish(start(folder)) >= 5
    assert all(name.endswith(_compiled.ENTRY) for name in entries(folder))


def test_entries_come_back_or_are_none(folder):
    kept = _compiled.Entries(folder)
    assert kept.get("a") is None
    kept.put("a", b"program")
    kept.put("a", b"another of the same key")
    assert kept.get("a") == b"program"
    (folder / f"a{_compiled.ENTRY}").write_bytes(b"x" * 100)
    assert kept.get("a") is None
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").touch()
    kept = _compiled.Entries(tmp_path / "file" / "below")
    kept.put("a", b"program")
    assert kept.get("a") is None


def test_this_run_keeps_its_programs_so_and_children_are_given_no_other_cache():
    from jax._src import compilation_cache

    assert isinstance(compilation_cache._get_cache(jax.devices()[0].client), _compiled.Entries)
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
