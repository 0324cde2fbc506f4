"""Results that are up to date: what makes one stale, and that nothing that did not come out as expected is stamped."""

import inspect
import json
import sys

import jax
import pytest

from experiments import __main__ as cli
from experiments import _claim, _devices, _run, _stamp

pytestmark = pytest.mark.slow  # the runner does not depend on the precision

FAST = "push_pull"
SIZE = {"size": "quick", "seed": 0}
FILE = _claim.claims()[FAST]


@pytest.fixture(scope="module")
def evaluated():
    """What the claim computes; once is enough for the tests of the stamp."""
    return _run.evaluate(_claim.load(FAST), seed=0, **_claim.load(FAST).SIZES["quick"])


@pytest.fixture(autouse=True)
def _stamps_of_the_test(tmp_path, monkeypatch, evaluated):
    monkeypatch.setattr(_stamp, "FOLDER", tmp_path / "stamps")
    monkeypatch.setattr(_run, "evaluate", lambda module, **_: evaluated)
    monkeypatch.setattr(_run._style, "render", lambda figure, stamp: dict.fromkeys(("png", "svg"), stamp.encode()))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(out, **options):
    [outcome] = _run.run_all([FAST], out=out, warn=print, **SIZE | options)
    return outcome


def made_from(sources=None, **options):
    return _run.made_from(FAST, sources or _stamp.read_sources(), **SIZE | options)


def no_computing(monkeypatch):
    def evaluate(*_, **__):
        raise AssertionError("computed")

    monkeypatch.setattr(_run, "evaluate", evaluate)


def test_a_second_run_judges_and_computes_nothing(out, monkeypatch, capsys):
    first = run(out)
    assert not first.up_to_date
    written = {file.name: file.read_bytes() for file in out.iterdir()}
    no_computing(monkeypatch)
    second = run(out)
    assert second.up_to_date
    assert (second.verdict, second.checks) == (first.verdict, first.checks)
    assert second.audit.failed == first.audit.failed
    assert not second.problems
    assert {file.name: file.read_bytes() for file in out.iterdir()} == written
    cli.close_run([second], out, interrupted=False)
    assert "up to date" in capsys.readouterr().out
    assert run(out, again=True).error == "AssertionError: computed"
    assert run(out).error == "AssertionError: computed", "what was asked to run again and crashed is stale"


def edited(file):
    return lambda sources: sources | {_claim.ROOT / file: sources[_claim.ROOT / file] + b"\n"}


@pytest.mark.parametrize(
    "file",
    [
        FILE.relative_to(_claim.ROOT).as_posix(),
        "experiments/words/__init__.py",
        "nsx/__init__.py",
        "nsx/losses/_binary.py",
        "nsx/losses/__init__.py",
        "nsx/_numerics.py",
        "experiments/_run.py",
        "experiments/_style.py",
        "experiments/nsx.mplstyle",
    ],
)
def test_code_that_it_imports_makes_it_stale(file):
    assert made_from(edited(file)(_stamp.read_sources())) != made_from()


@pytest.mark.parametrize("file", ["nsx/poincare/_ball.py", "experiments/contrast/alias_method.py"])
def test_code_that_it_does_not_import_leaves_it(file):
    assert made_from(edited(file)(_stamp.read_sources())) == made_from() != ""


@pytest.mark.parametrize("options", [{"seed": 1}, {"size": "full"}])
def test_options_make_it_stale(options):
    assert made_from(**options) != made_from() == made_from()


@pytest.mark.parametrize("package", ["jax", "jaxlib", "numpy"])
def test_a_version_makes_it_stale(monkeypatch, package):
    before = made_from()
    version = _stamp.version
    monkeypatch.setattr(_stamp, "version", lambda name: "0.0" if name == package else version(name))
    assert made_from() != before


def test_precision_device_and_data_make_it_stale(monkeypatch):
    before = made_from()
    with jax.enable_x64(not jax.config.jax_enable_x64):
        assert made_from() != before
    sizes = _claim.load(FAST).SIZES
    monkeypatch.setitem(sizes, "quick", sizes["quick"] | {"corpus": "shakespeare"})
    monkeypatch.setattr(_run.data, "available", lambda name: True)
    fetched = made_from()
    monkeypatch.setattr(_run.data, "available", lambda name: False)
    assert len({made_from(), fetched, before}) == 3
    absent = made_from()
    monkeypatch.setattr(_devices, "in_use", lambda: jax.devices()[:1] * 2)
    assert made_from() != absent


@pytest.mark.parametrize("suffix", ["npz", "json", "png", "svg"])
def test_a_file_changed_or_gone_makes_it_stale(out, suffix):
    run(out)
    digest, file = made_from(), out / f"{FAST}.{suffix}"
    assert _stamp.holds(out, FAST, digest)
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    assert not _stamp.holds(out, FAST, digest)
    file.unlink()
    assert not _stamp.holds(out, FAST, digest)
    file.write_bytes(content)
    assert _stamp.holds(out, FAST, digest)


def test_stamps_are_of_one_folder(out, tmp_path):
    run(out)
    assert not _stamp.holds(tmp_path / "elsewhere", FAST, made_from())
    other = tmp_path / "copy"
    out.rename(other)
    assert not _stamp.holds(other, FAST, made_from())


def test_a_damaged_stamp_is_no_stamp(out):
    run(out)
    _stamp.place(out, FAST).write_text('{"inputs": ')
    assert not _stamp.holds(out, FAST, made_from())


def test_a_crash_is_not_stamped(out, monkeypatch):
    run(out)
    stamp = _stamp.place(out, FAST).read_text()
    with monkeypatch.context() as patch:
        no_computing(patch)
        assert run(out, again=True).error
    assert not _stamp.place(out, FAST).exists()
    assert not run(out).up_to_date
    assert _stamp.place(out, FAST).read_text() == stamp, "the same result, the same stamp"


def test_what_is_not_as_expected_is_not_stamped(out, monkeypatch, evaluated):
    fields, checks, audit = evaluated
    escaping = audit._replace(escaped=["the same world"])
    monkeypatch.setattr(_run, "evaluate", lambda *_, **__: (fields, checks, escaping))
    assert run(out).problems
    assert not _stamp.place(out, FAST).exists()


def test_a_stamped_result_that_is_judged_otherwise_is_computed_again(out, monkeypatch):
    run(out)
    verdict = _claim.load(FAST).verdict
    failing = lambda data: tuple(check._replace(margin=float("nan")) for check in verdict(data))
    monkeypatch.setattr(_claim.load(FAST), "verdict", failing)
    outcome = run(out)
    assert not outcome.up_to_date, "it goes to be computed"


def test_a_cache_that_cannot_be_written_costs_only_time(out, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(_stamp, "FOLDER", tmp_path / "file" / "stamps")
    assert not run(out).problems
    assert not run(out).up_to_date


def files_behind(module):
    """Files in which something that a module holds was made; a package holds its parts, whoever imported them."""
    made_in = {getattr(value, "__module__", None) for value in vars(module).values()}
    held = [value for value in vars(module).values() if inspect.ismodule(value) and not hasattr(module, "__path__")]
    modules = held + [sys.modules[name] for name in made_in if isinstance(name, str) and name in sys.modules]
    return {file for file in (getattr(m, "__file__", None) for m in modules) if file}


def test_no_code_is_overlooked():
    sources = _stamp.read_sources()
    slugs = [slug for slug in _claim.claims() if _claim.load(slug)]
    by_file = {m.__file__: m for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
    runner = {str(_claim.ROOT / "experiments" / name) for name in _stamp.RUNNER}
    project = {str(file) for file in sources}
    for slug in slugs:
        code = {str(file) for file in _stamp.code(_claim.claims()[slug], sources)}
        for file in (code & set(by_file)) - runner:
            overlooked = (files_behind(by_file[file]) & project) - code
            assert not overlooked, f"{slug}: {file} uses {overlooked}"


def test_a_stamp_holds_no_more_than_digests(out):
    run(out)
    stamp = json.loads(_stamp.place(out, FAST).read_text())
    assert set(stamp) == {"inputs", "results"}
    assert set(stamp["results"]) == set(_stamp.SUFFIXES)
