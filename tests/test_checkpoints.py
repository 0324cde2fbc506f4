"""Interrupted training goes on with the same bits; what cannot be written or read is told, and the rest is kept."""

import errno
import gc
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import checkpoints, hierarchies, words
from tests.helpers import PRECISION, ROOT

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TOKENS = np.random.default_rng(0).integers(0, 50, 300)
TEXT = {"vocabulary_size": 50, "window": 2, "epochs": 4, "threshold": None, "dimension": 20, "blocks_per_step": 2}
TREE = np.array([[i, (i - 1) // 2] for i in range(1, 7)])
NODES = {"num_nodes": 7, "dimension": 2, "negatives": 2, "burn_in": 1}


@pytest.fixture(autouse=True)
def _forget_what_orbax_left():
    """After a failed read orbax drops coroutines that complain when they are collected: here, not in a later test."""
    yield
    gc.collect()


class Interruption(Exception):
    """Stands for whatever ends a run."""


def after(last):
    def stop(epoch, info):
        if epoch == last:
            raise Interruption

    return stop


def train_words(**options):
    return words.train_sgns(jax.random.key(options.pop("seed", 1)), TOKENS, **(TEXT | options))


def train_tree(**options):
    return hierarchies.train(jax.random.key(1), TREE, **(NODES | {"epochs": 4} | options))


def same_bits(a, b):
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def folders_in(folder):
    return [p for p in folder.iterdir() if p.is_dir()]


def epochs_in(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.mark.parametrize("train", [train_words, train_tree])
@pytest.mark.parametrize(("every", "last", "found"), [(1, 1, [1, 2]), (2, 2, [2])])
def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, train, every, last, found):
    store = checkpoints.Checkpoints(tmp_path / "new" / "run", every=every)
    with pytest.raises(Interruption):
        train(checkpoints=store, progress=after(last))
    assert epochs_in(store.folder) == found
    seen = []
    rest = train(checkpoints=store, progress=lambda epoch, info: seen.append(epoch))
    assert same_bits(rest, train())
    assert seen == list(range(found[-1], 4)), "epochs before the checkpoint are not trained again"
    assert epochs_in(store.folder)[-1] == 4
    assert len(epochs_in(store.folder)) <= 2, "older ones are removed"
    assert same_bits(train(checkpoints=store, progress=after(0)), rest), "a finished run is read, not trained"


def test_more_epochs_go_on_from_fewer(tmp_path):
    """The learning rate of a hierarchy does not depend on the number of epochs, that of SGNS does."""
    store = checkpoints.Checkpoints(tmp_path)
    train_tree(checkpoints=store, epochs=2)
    assert same_bits(train_tree(checkpoints=store, epochs=4), train_tree())
    with pytest.raises(ValueError, match="has 4 epochs behind it, 3 are asked for"):
        train_tree(checkpoints=store, epochs=3)


@pytest.mark.parametrize("change", [{"seed": 2}, {"learning_rate": 0.01}, {"epochs": 5}, {"window": 3}])
def test_another_run_is_refused(tmp_path, change):
    store = checkpoints.Checkpoints(tmp_path)
    with pytest.raises(Interruption):
        train_words(checkpoints=store, progress=after(0))
    with pytest.raises(checkpoints.CheckpointError, match="epoch 1 is of another run"):
        train_words(checkpoints=store, **change)


def test_damage_is_noticed_and_the_checkpoint_before_is_kept(tmp_path):
    """Each file of the newest checkpoint in turn: a changed byte, half of it, none of it."""
    store = checkpoints.Checkpoints(tmp_path)
    state = {"table": jax.random.normal(jax.random.key(0), (50, 20)), "step": jnp.int32(7)}
    for losses in ([1.0], [1.0, 0.5]):
        store.save("run", state, losses, last=False)
    told = []
    for file in sorted(p for p in (tmp_path / "2").rglob("*") if p.is_file()):
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 0x10
        for content in (bytes(changed), whole[: len(whole) // 2], b""):
            file.write_bytes(content)
            try:
                found, losses = store.restore("run", state)
            except checkpoints.CheckpointError as error:
                told.append(str(error))
            else:  # a file that is not needed, or the folder no longer counts as a checkpoint
                assert same_bits(found, state)
                assert losses in ([1.0, 0.5], [1.0])
        file.write_bytes(whole)
    assert len(told) >= 4
    assert all("go on from epoch 1" in message or "another run" in message for message in told)
    assert epochs_in(tmp_path) == [1, 2]
    assert store.restore("run", state)[1] == [1.0, 0.5]


def test_rows_of_zeros_come_and_go_with_the_number_of_devices(tmp_path):
    store, table = checkpoints.Checkpoints(tmp_path), jnp.arange(12.0).reshape(6, 2)
    store.save("run", [table], [0.0], last=True)
    for rows in (8, 6):
        wanted = jnp.pad(table, [(0, rows - 6), (0, 0)])
        assert same_bits(store.restore("run", [jnp.zeros((rows, 2))])[0], [wanted])
        store.save("run", [wanted], [0.0] * rows, last=True)
    with pytest.raises(checkpoints.CheckpointError, match="cannot be read"):
        store.restore("run", [jnp.zeros((4, 2))])  # rows that are not zeros are missed


FULL_DISK_THEN_KILLED = """
import os, resource, signal, sys
sys.path[:0] = sys.argv[2:]
from tests.test_checkpoints import checkpoints, train_words

def fill(epoch, info):
    if epoch == 1:  # no file may grow beyond this many bytes: what a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

store = checkpoints.Checkpoints(sys.argv[1])
try:
    train_words(checkpoints=store, progress=fill)
except checkpoints.CheckpointError as error:
    print(error, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_full_disk_and_a_killed_process_lose_nothing(tmp_path):
    pytest.importorskip("resource")
    environment = os.environ | {"JAX_ENABLE_X64": str(PRECISION == 64), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", FULL_DISK_THEN_KILLED, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "the checkpoint of epoch 3 could not be written; that of epoch 2 is as it was. Make room" in done.stdout
    assert epochs_in(tmp_path) == [1, 2]
    assert len(folders_in(tmp_path)) == 3, "what was being written is still there"
    if jax.default_backend() == "cpu":
        assert same_bits(train_words(checkpoints=checkpoints.Checkpoints(tmp_path)), train_words())
        assert epochs_in(tmp_path) == [3, 4]
        assert len(folders_in(tmp_path)) == 2, "and was cleared away"


TERMINATED_WHILE_WRITING = """
import os, signal, sys, threading
sys.path[:0] = sys.argv[3:]
from tests.test_checkpoints import checkpoints, train_words

def terminate(epoch, info):
    if epoch == 1:  # epoch 2 trains in a moment, so the signal meets it or the writing of its checkpoint
        threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGTERM)).start()

train_words(checkpoints=checkpoints.Checkpoints(sys.argv[1]), progress=terminate, epochs=40)
"""


@pytest.mark.parametrize("delay", ["0.02", "0.1"])
def test_a_terminated_run_goes_on(tmp_path, delay):
    environment = os.environ | {"JAX_ENABLE_X64": str(PRECISION == 64), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", TERMINATED_WHILE_WRITING, str(tmp_path), delay, str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGTERM, done.stderr
    last = epochs_in(tmp_path)[-1]
    assert 2 <= last < 40
    if jax.default_backend() == "cpu":
        seen = []
        store = checkpoints.Checkpoints(tmp_path)
        rest = train_words(checkpoints=store, epochs=40, progress=lambda epoch, info: seen.append(epoch))
        assert seen == list(range(last, 40))
        assert same_bits(rest, train_words(epochs=40))
        assert len(folders_in(tmp_path)) == 2, "nothing is left of what was being written"


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    """With the right word, whichever run they are of; the first goes on, and afterwards the folder is free."""
    store = checkpoints.Checkpoints(tmp_path)
    refused = []

    def intrude(epoch, info):
        for seed in (1, 2):
            with pytest.raises(checkpoints.CheckpointError, match=rf"another training.*\(process {os.getpid()}\)"):
                train_words(checkpoints=checkpoints.Checkpoints(tmp_path), seed=seed)
            refused.append(epoch)

    assert same_bits(train_words(checkpoints=store, progress=intrude), train_words())
    assert len(refused) == 8
    assert same_bits(train_words(checkpoints=store), train_words())


def test_what_another_run_is_writing_is_left_alone(tmp_path):
    """Only a training that holds the folder clears it: a look at the checkpoints must not."""
    store = checkpoints.Checkpoints(tmp_path)
    state = [jnp.arange(6.0)]
    store.save("run", state, [1.0], last=False)
    writing = tmp_path / "2.orbax-checkpoint-tmp-7"
    writing.mkdir()
    assert store.restore("run", state)[1] == [1.0]
    store.save("run", state, [1.0, 0.5, 0.2], last=False)
    assert writing.is_dir()
    with store.alone():
        assert not writing.is_dir()
    assert epochs_in(tmp_path) == [1, 3]


def test_a_system_without_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (
        pytest.warns(UserWarning, match="no lock can be taken here"),
        checkpoints.Checkpoints(tmp_path).alone(),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Make room"),
        (ValueError("RESOURCE_EXHAUSTED: writing"), "Make room"),
        (PermissionError(errno.EACCES, "Permission denied"), "right to write there"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "still there"),
    ],
)
def test_advice_names_the_cause(error, advice):
    outer = RuntimeError("the save failed")
    outer.__cause__ = error
    assert advice in checkpoints._advice(outer)


def test_bad_folders_and_numbers(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(checkpoints.CheckpointError, match="cannot be a folder of checkpoints"):
        train_words(checkpoints=checkpoints.Checkpoints(tmp_path / "file"))
    for name in ("every", "keep"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            train_words(checkpoints=checkpoints.Checkpoints(tmp_path, **{name: 0}))


def test_without_orbax_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"pip install 'nsx\[checkpoints\]'"):
        train_words(checkpoints=checkpoints.Checkpoints(tmp_path))
