"""Every claim: the protocol, the verdict at its quick size, controls that bite, a figure with labelled axes."""

import inspect
import io
import re
from functools import cache
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments import _claim, _run, _style
from experiments._runner.side_by_side import NewForm
from tests.helpers import SEED

SLUGS = list(_claim.claims())
BIBLIOGRAPHY = (_claim.ROOT / "references.bib").read_text(encoding="utf-8")


@cache
def quick(slug):
    """The claim's module and what its quick run gives; computed once for all tests of that claim."""
    module = _claim.load(slug)
    size = {k: None if k in ("corpus", "dataset") else v for k, v in module.SIZES["quick"].items()}
    found = module, *_run.evaluate(module, seed=SEED, **size)
    jax.clear_caches()  # programs of one claim are of no use to the next, and a worker would hold gigabytes of them
    return found


@pytest.mark.slow  # results are committed in float64; `run --precision 32` is for a reader who wants to see the other
@pytest.mark.parametrize("slug", [pytest.param(s, marks=pytest.mark.xdist_group(s)) for s in SLUGS])
class TestClaim:
    """One group a claim, so that parallel workers share its quick run (`--dist loadgroup`)."""

    def test_protocol(self, slug):
        module, claim = _claim.load(slug), _claim.describe(_claim.claims()[slug])
        assert claim == module.CLAIM
        assert re.match(r"00[0-3]|published", claim.source), "the source begins with a chapter"
        assert claim.expected == "supported" or claim.why, "a claim that is not plainly supported says why"
        assert claim.references, "no reference"
        for reference in claim.references:
            assert f"{{{reference}," in BIBLIOGRAPHY, f"{reference} is not in references.bib"
        assert {"quick", "full", "device"} <= set(module.SIZES) <= {"quick", "full", "device", "long"}
        assert len(module.__doc__.strip()) > 100
        assert "efuted if" in module.__doc__, "the docstring says what would refute the claim"
        assert next(iter(inspect.signature(module.compute).parameters)) == "key"
        if isinstance(module, NewForm):
            return
        assert list(inspect.signature(module.verdict).parameters) == ["data"]
        assert list(inspect.signature(module.plot).parameters) == ["data"]

    def test_verdict(self, slug):
        module, _, checks, _ = quick(slug)
        broken = [c for c in checks if not c.passed]
        assert _claim.judge(checks) == module.CLAIM.expected, broken
        assert len({c.name for c in checks}) == len(checks), "two checks share a name"

    def test_controls_bite(self, slug):
        _, _, _, audit = quick(slug)
        assert not audit.untested, "no control overturns these checks"
        assert not audit.escaped, "these controls overturn no check"

    def test_figure(self, slug):
        module, fields, checks, _ = quick(slug)
        restored = _run.unpack(module, _run.pack(fields))
        assert str(module.verdict(restored)) == str(checks), "the verdict of the saved data differs"
        if isinstance(module, NewForm):
            images = module.images(restored, stamp="test")
            assert images == module.images(restored, stamp="test"), "other bytes for the same figure"
            return
        fig = module.plot(restored)
        for ax in fig.axes:
            if ax.axison and ax.get_label() != "<colorbar>":
                assert ax.get_xlabel() or not any(t.get_visible() for t in ax.get_xticklabels()), "x axis unlabelled"
        _style.finish(fig, slug, module.CLAIM, module.CLAIM.expected, checks)
        picture = io.BytesIO()
        fig.savefig(picture, format="png")  # the other format is drawn in test_harness, of one claim
        plt.close(fig)
        assert picture.getvalue().startswith(b"\x89PNG")


def check(predicted=1.0, measured=1.0, margin=0.1, **rest):
    return _claim.Check("c", predicted, measured, margin, **rest)


@pytest.mark.parametrize(
    ("made", "passed"),
    [
        (check(measured=1.1 - 1e-12), True),
        (check(measured=1.11), False),
        (check(measured=0.89), False),
        (check(measured=float("nan")), False),
        (check(margin=float("nan")), False),
        (check(measured=-5.0, relation="at most"), True),
        (check(measured=1.2, relation="at most"), False),
        (check(measured=5.0, relation="at least"), True),
        (check(measured=0.8, relation="at least"), False),
        (check(measured=float("nan"), relation="at least"), False),
    ],
)
def test_check_passes_within_its_margin_only(made, passed):
    assert made.passed is passed


def test_judge_takes_the_chapter_at_its_word():
    good, bad = check(), check(measured=9.0)
    literal, broken = _claim.at_its_word(good), _claim.at_its_word(bad)
    assert _claim.judge([good]) == "supported"
    assert _claim.judge([good, literal]) == "supported"
    assert _claim.judge([good, literal, broken]) == "conditional"
    assert _claim.judge([good, broken]) == "refuted"
    assert _claim.judge([bad, literal]) == "refuted"
    assert _claim.judge([]) == "refuted"


def test_audit_names_toothless_checks_and_controls():
    a, b = check()._replace(name="a"), check()._replace(name="b")
    wrong = a._replace(measured=9.0)
    audit = _claim.audit([a, b], {"bites": [wrong, b], "escapes": [a, b]})
    assert audit.untested == ["b"]
    assert audit.escaped == ["escapes"]
    assert audit.failed == {"bites": ["a"], "escapes": []}


def test_close_shows_the_entry_nearest_to_failing():
    shown = _claim.close("c", [1.0, 2.0, 3.0], [1.0, 2.5, 3.1], [0.1, 1.0, 0.05])
    assert (shown.predicted, shown.measured) == (3.0, 3.1)
    assert not shown.passed
    assert not _claim.close("c", 0.0, [0.0, np.nan], 1.0).passed
    assert not _claim.close("c", 0.0, [0.0, 1e10], 0.0).passed


def test_student_margin_false_alarms_at_the_stated_rate():
    rows = np.random.default_rng(0).normal(size=(32, 20000))
    alarms = np.abs(rows.mean(axis=0)) > _claim.student_margin(rows, alarm=0.01)
    assert abs(alarms.mean() - 0.01) < 5 * np.sqrt(0.01 * 0.99 / 20000)
    with pytest.raises(ValueError, match="at least 32 replicates"):
        _claim.student_margin(rows[:8])


def test_registry_holds_every_file_once():
    folders = [_claim.ROOT / "experiments" / group for group in _claim.GROUPS]
    files = [f.stem for folder in folders for f in folder.glob("[a-z]*.py")]
    files += [f.parent.name for folder in folders for f in folder.glob("[a-z]*/__init__.py")]
    assert sorted(files) == sorted(SLUGS)
    assert len(set(files)) == len(files)


def test_paths_are_inside_the_project():
    assert Path(_claim.ROOT / "pyproject.toml").exists()
