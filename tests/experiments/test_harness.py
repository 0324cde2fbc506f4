"""The command line: selection, crashes, interruption, atomic writes, disagreement."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import __main__ as cli
from experiments import _claim, _report, _run, _stamp

pytestmark = pytest.mark.slow  # the runner does not depend on the precision

FAST = "push_pull"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with one claim's quick result."""
    out = tmp_path_factory.mktemp("results")
    outcome = _run.run_claim(FAST, size="quick", seed=0, out=out, warn=print)
    assert not outcome.problems
    return out


def test_result_holds_what_a_reader_needs(results):
    record = json.loads((results / f"{FAST}.json").read_text())
    expected = {
        "claim",
        "source",
        "verdict",
        "checks",
        "controls",
        "size",
        "seed",
        "dtype",
        "device",
        "versions",
        "data",
    }
    assert set(record) == expected
    assert set(record["checks"][0]) == {
        "name",
        "predicted",
        "measured",
        "margin",
        "passed",
        "relation",
        "role",
    }
    assert {f.suffix for f in results.iterdir()} == {".json", ".npz", ".png", ".svg"}
    assert "second" not in json.dumps(record), "no times in a committed result"


def test_a_rerun_gives_the_same_bytes(results, tmp_path):
    _run.run_claim(FAST, size="quick", seed=0, out=tmp_path, warn=print)
    for file in results.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_another_seed_gives_other_data(results, tmp_path):
    _run.run_claim(FAST, size="quick", seed=1, out=tmp_path, warn=print)
    name = f"{FAST}.npz"
    assert (tmp_path / name).read_bytes() != (results / name).read_bytes()


def damage_json(folder):
    path = folder / f"{FAST}.json"
    record = json.loads(path.read_text())
    record["checks"][0]["measured"] += 1.0
    path.write_text(json.dumps(record))


def damage_data(folder):
    module = _claim.load(FAST)
    fields = _run.unpack(module, (folder / f"{FAST}.npz").read_bytes())
    (folder / f"{FAST}.npz").write_bytes(_run.pack(fields._replace(pull=fields.pull * 2)))


def swap_figure(folder):
    path = folder / f"{FAST}.png"
    path.write_bytes(path.read_bytes().replace(b"nsx push_pull", b"nsx pull_push").replace(b"a", b"b"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_json, "judged again"),
        (damage_data, "is not the data of"),
        (swap_figure, "was not drawn from"),
        (lambda folder: (folder / f"{FAST}.npz").unlink(), "is missing"),
        (lambda folder: (folder / "no_such_claim.png").write_bytes(b""), "files of no claim"),
    ],
)
def test_check_finds_disagreement(results, tmp_path, damage, message):
    for file in results.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    of_this = lambda: [d for d in _report.disagreements(tmp_path) if "never run" not in d]
    assert not of_this()
    damage(tmp_path)
    assert any(message in line for line in of_this())


def test_half_a_result_is_named_not_read(tmp_path):
    (tmp_path / f"{FAST}.json").write_text('{"claim": "x", "che')
    with pytest.raises(SystemExit, match="not valid JSON"):
        _report.read_results(tmp_path)


def test_a_write_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    _run.write_atomically(path, b"old")

    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(OSError, match="disk full"):
        _run.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_does_not_stop_the_others(monkeypatch, tmp_path, capsys):
    module = _claim.load(FAST)
    slugs = list(_claim.claims())
    other = next(s for s in slugs if s != FAST) if len(slugs) > 1 else FAST

    def crash(*_, **__):
        raise FloatingPointError("the field exploded")

    monkeypatch.setattr(_claim.load(other), "compute", crash)
    monkeypatch.setattr(_stamp, "FOLDER", tmp_path / "stamps")
    outcomes = list(_run.run_all([other, FAST], size="quick", seed=0, out=tmp_path, warn=print))
    assert outcomes[0].problems == ["crashed: FloatingPointError: the field exploded"]
    if other != FAST:
        assert not outcomes[1].problems
        assert outcomes[1].verdict == module.CLAIM.expected
    cli.close_run(outcomes, tmp_path, interrupted=False)
    assert "the field exploded" in capsys.readouterr().out


def test_an_escaping_control_fails_the_run(monkeypatch, tmp_path):
    module = _claim.load(FAST)
    monkeypatch.setattr(module, "controls", lambda key, data, **size: {"the same world": data})
    outcome = _run.run_claim(FAST, size="quick", seed=0, out=tmp_path, warn=print)
    assert any("escapes" in p for p in outcome.problems)
    assert any("no control overturns" in p for p in outcome.problems)


def test_unknown_claim_answers_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "push_pul"])
    assert stop.value.code == 2
    assert "Did you mean push_pull" in capsys.readouterr().out


def test_globs_and_all():
    assert cli.select(["push_*"]) == [FAST]
    assert cli.select(["all"]) == cli.select([]) == list(_claim.claims())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit, match="cannot write results"):
        _run.require_writable(tmp_path / "out")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(SystemExit, match="cannot write results"):
        _run.require_writable(tmp_path / "out")


def test_listing_does_not_start_jax():
    code = "import sys; from experiments.__main__ import main; main(['list']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=_claim.ROOT, capture_output=True).returncode == 0


def test_missing_data_leaves_out_the_real_part_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path))
    said = []
    size = _run.with_data_at_hand({"corpus": "shakespeare", "steps": 3}, said.append)
    assert size == {"corpus": None, "steps": 3}
    assert "python -m experiments fetch" in said[0]


def test_of_several_data_sets_those_at_hand_stay(monkeypatch):
    monkeypatch.setattr(_run.data, "available", lambda name: name == "cgd")
    said = []
    size = _run.with_data_at_hand({"dataset": ("neuro", "cgd"), "corpus": ("neuro",)}, said.append)
    assert size == {"dataset": ("cgd",), "corpus": None}
    assert len(said) == 2
    assert all("neuro" in line for line in said)


def test_pack_and_unpack_are_inverse():
    module = _claim.load(FAST)
    fields = module.Data(*(np.arange(3.0) + i for i in range(len(module.Data._fields))))
    restored = _run.unpack(module, _run.pack(fields))
    assert all(np.array_equal(a, b) for a, b in zip(fields, restored, strict=True))
    assert jax.tree.structure(fields) == jax.tree.structure(restored)
