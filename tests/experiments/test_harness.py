"""The command line: selection, crashes, interruption, atomic writes, disagreement."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import __main__ as cli
from experiments import _claim, _files, _report, _run, _stamp
from experiments._runner import Sentence, page, report
from tests.helpers import hears_interrupts

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
    told = {"name", "role", "relation", "predicted", "measured", "margin", "resolution", "weak", "passed"}
    assert set(record["checks"][0]) == told | {"sentence", "because", "says"}
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
    (folder / f"{FAST}.npz").write_bytes(
        _run.pack(fields._replace(sgns=fields.sgns._replace(pull=2 * fields.sgns.pull)))
    )


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
    with pytest.raises(SystemExit, match="is no result: it is not valid JSON"):
        _report.read_results(tmp_path)


def test_draw_takes_only_the_data_of_its_record(results, tmp_path, capsys):
    for file in results.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = (tmp_path / f"{FAST}.png").read_bytes()
    damage_data(tmp_path)
    assert cli.main(["draw", FAST, "--out", str(tmp_path)]) == 1
    assert "is not the data of" in capsys.readouterr().out
    assert (tmp_path / f"{FAST}.png").read_bytes() == before, "no figure of other data"
    (tmp_path / f"{FAST}.npz").unlink()
    assert cli.main(["draw", FAST, "--out", str(tmp_path)]) == 1
    (tmp_path / f"{FAST}.npz").write_bytes((results / f"{FAST}.npz").read_bytes())
    (tmp_path / f"{FAST}.png").unlink()
    assert cli.main(["draw", FAST, "--out", str(tmp_path)]) == 0
    assert (tmp_path / f"{FAST}.png").read_bytes() == before


def without(*path):
    """A change of a record that takes something out of it."""

    def change(record):
        inner = record
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        return record

    return change


def instead(value, *path):
    """A change of a record that puts something else in its place."""

    def change(record):
        inner = record
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        return record

    return change


NO_RESULTS = {
    "an empty object": lambda record: {},
    "a list": lambda record: [],
    "a word": lambda record: "supported",
    "null": lambda record: None,
    "no checks": without("checks"),
    "no check at all": instead([], "checks"),
    "a check without a role": without("checks", 0, "role"),
    "a check of another role": instead("<b>", "checks", 0, "role"),
    "a check of another relation": instead("about", "checks", 0, "relation"),
    "a check that is a number": instead(1.0, "checks", 0),
    "a measurement in words": instead("1", "checks", 0, "measured"),
    "another verdict": instead("<script>", "verdict"),
    "another dtype": instead("float16", "dtype"),
    "a size without a name": without("size", "name"),
    "controls of numbers": instead({"a": [1]}, "controls"),
    "controls in a list": instead([], "controls"),
    "data that are no digest": instead(7, "data"),
    "no seed": without("seed"),
}


@pytest.mark.parametrize("fault", NO_RESULTS)
def test_what_parses_and_is_no_result_is_named(results, tmp_path, fault, monkeypatch):
    record = NO_RESULTS[fault](json.loads((results / f"{FAST}.json").read_text()))
    (tmp_path / f"{FAST}.json").write_text(json.dumps(record))
    (tmp_path / f"{FAST}.npz").write_bytes((results / f"{FAST}.npz").read_bytes())
    with pytest.raises(SystemExit, match=rf"{FAST}.json is no result: .*; run: python -m experiments run {FAST}"):
        cli.main(["draw", FAST, "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="is no result"):
        list(_report.disagreements(tmp_path))
    monkeypatch.setattr(_report.read_results, "__defaults__", (tmp_path,))
    for command in ("list", "report", "check"):
        with pytest.raises(SystemExit, match="is no result"):
            cli.main([command])


def test_a_whole_result_has_no_fault(results):
    assert _report.fault_of(json.loads((results / f"{FAST}.json").read_text())) == ""


ODD = "p(x|y) < <b> &lt; c & d"


def a_page(**changes):
    check = _claim.Check(ODD, 1.0, 1.0, 0.1)._asdict() | {"passed": True}
    sentence = Sentence(chapter="principles", where="<i>|", says=ODD)
    fields = {
        "slug": FAST,
        "statement": ODD,
        "verdict": "supported",
        "finding": ODD,
        "source": ODD,
        "references": ("key2020word",),
        "sentences": (page.Judged(sentence, "supported"),),
        "text": "",
        "captions": {"a": ODD},
        "chapter": (check,),
        "theory": (check,),
        "identities": 1,
        "beyond": (check,),
        "controls": (page.Control(ODD, 2),),
        "run": ODD,
        "file": Path("experiments/x.py"),
    }
    return page.Page(**(fields | changes))


def test_text_of_a_claim_breaks_neither_a_table_nor_a_page():
    text = report.compose({"words": [a_page()]})
    own = ("<details>", "</details>", "<summary>", "</summary>")
    for tag in own:
        text = text.replace(tag, "")
    assert not re.search(r"<(?!a href|/a|img src)", text.replace("&lt;", "")), "a tag of HTML"
    assert "&amp;lt; c & d" in text
    head = 0
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not head or cells == head, line
        head = cells


def test_a_report_tells_what_holds_and_what_does_not():
    fails = _claim.Check("c", 1.0, 9.0, 0.1, role="chapter")._asdict() | {"passed": False}
    weak = _claim.Check("w", 1.0, 1.0, 0.5, weak=True, resolution=0.5)._asdict() | {"passed": True}
    text = report.compose({"words": [a_page(verdict="conditional", chapter=(fails,), theory=(weak,))]})
    assert "**Totals.** 1 claims: 1 conditional.\nTheory: 1 of 1 checks hold, and 1 identities to rounding." in text
    assert "| c | = 1 | 9 | 80 times | **fails** |" in text
    assert "| w | = 1 | 1 | 0 % | weak |" in text
    assert "(2 of 4)" in text


def test_the_report_can_be_read():
    text = _report.REPORT.read_text(encoding="utf-8")
    assert len(text.encode()) < 100_000
    for slug in _claim.claims():
        assert f"\n### {slug}\n" in text


def test_every_committed_table_has_as_many_cells_as_its_head():
    head = 0
    for line in _report.REPORT.read_text(encoding="utf-8").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not head or cells == head, line
        head = cells


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from experiments import _files
_files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
_files.write_atomically(Path(sys.argv[1]), b"new")
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "claim.npz"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], cwd=_claim.ROOT)
    assert done.returncode == -signal.SIGKILL
    [left] = [file for file in tmp_path.iterdir() if file != path]
    assert path.read_bytes() == b"old"
    ignored = subprocess.run(["git", "check-ignore", "--no-index", "-q", left.name], cwd=_claim.ROOT)
    assert ignored.returncode == 0, f"{left.name} is not in .gitignore"
    other = tmp_path / f".other.npz.abc{_files.PART}"
    other.touch()
    _files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [other, path], "what was left of this file, and of no other, is gone"


def test_what_a_live_writer_is_writing_stays(tmp_path):
    path = tmp_path / "claim.npz"
    with (tmp_path / f".claim.npz.abc{_files.PART}").open("wb") as file:
        assert _files._take(file.fileno())
        _files.write_atomically(path, b"mine")
        assert Path(file.name).exists()
    _files.write_atomically(path, b"mine")
    assert list(tmp_path.iterdir()) == [path]


STOPPED_WHILE_WRITING = """
import sys, time
from pathlib import Path
from experiments import __main__ as cli, _files, _run

def slow(*_):
    print("writing", flush=True)
    time.sleep(120)

_files.os.replace = slow
_run.run_claim = lambda slug, *, out, **_: _files.write_atomically(out / f"{slug}.npz", b"data")
sys.exit(cli.main(["run", "push_pull", "--size", "quick", "--again", "--out", sys.argv[1]]))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing_half_written(tmp_path, stop):
    command = [sys.executable, "-c", STOPPED_WHILE_WRITING, str(tmp_path)]
    running = subprocess.Popen(hears_interrupts(command[1:]), cwd=_claim.ROOT, stdout=subprocess.PIPE, text=True)
    while running.stdout.readline() != "writing\n":
        assert running.poll() is None
    running.send_signal(stop)
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 128 + stop
    assert "interrupted" in out
    assert not list(tmp_path.iterdir())


def test_a_write_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    _files.write_atomically(path, b"old")

    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(OSError, match="disk full"):
        _files.write_atomically(path, b"new")
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
    module = _claim.load(FAST).module
    monkeypatch.setattr(module, "CONTROLS", {"the truth": module.Mechanism()})
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
    module = _claim.load("uniform_sphere")
    fields = module.Data(*(np.arange(3.0) + i for i in range(len(module.Data._fields))))
    restored = _run.unpack(module, _run.pack(fields))
    assert all(np.array_equal(a, b) for a, b in zip(fields, restored, strict=True))
    assert jax.tree.structure(fields) == jax.tree.structure(restored)
