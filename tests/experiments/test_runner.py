"""The form of a claim: checks that say what they resolve, verdicts by sentence, controls, data, figures."""

import ast
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from matplotlib.figure import Figure as Page
from rich.console import Console

from experiments import _claim
from experiments.__main__ import main
from experiments._runner import (
    Claim,
    Figure,
    Sentence,
    at_least,
    at_most,
    equal,
    interval_at_least,
    interval_at_most,
    mean_at_least,
    mean_equal,
    paired_interval,
    student_margin,
)
from experiments._runner import data as npz
from experiments._runner.checks import judged
from experiments._runner.drawing import STYLES, measured_curve, measured_points, theory_line
from experiments._runner.figure import render
from experiments._runner.judging import bite, claim_verdict, sentence_verdict, stated_otherwise
from experiments._runner.side_by_side import NewForm

NEW = [slug for slug in _claim.claims() if isinstance(_claim.load(slug), NewForm)]
WHY = "told to"


# --- Checks


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (equal(1, 1.1 - 1e-12, 0.1, because=WHY), True),
        (equal(1, 1.11, 0.1, because=WHY), False),
        (equal(1, np.nan, 0.1, because=WHY), False),
        (equal(1, 1, np.nan, because=WHY), False),
        (equal([1, 2], [1, 2.5], [0, 1], because=WHY), True),
        (at_most(1, [0.5, 1.0], because=WHY), True),
        (at_most(1, 1.2, 0.1, because=WHY), False),
        (at_most(0, -np.inf, because=WHY), True),
        (at_most(1, np.nan, because=WHY), False),
        (at_least(1, 0.95, 0.1, because=WHY), True),
        (at_least(1, [2.0, 0.8], 0.1, because=WHY), False),
        (at_least(0, 0, because=WHY), True),
        (interval_at_least(0, 1.0, 0.5, 1.5, because=WHY), True),
        (interval_at_least(0, 1.0, -0.5, 2.5, because=WHY), False),
        (interval_at_least(0, 0.0, 0.0, 0.0, because=WHY), False),
        (interval_at_most(0, -1.0, -1.5, -0.5, because=WHY), True),
        (interval_at_most(0, 1.0, 0.5, 1.5, because=WHY), False),
    ],
)
def test_a_check_passes_within_its_margin_only(check, passed):
    assert check.passed is passed


def test_a_check_is_shown_at_the_entry_nearest_to_failing():
    check = equal([1.0, 2.0, 3.0], [1.0, 2.5, 3.1], [0.1, 1.0, 0.05], because=WHY)
    assert (check.predicted, check.measured, check.margin) == (3.0, 3.1, 0.05)
    np.testing.assert_allclose(check.slack, [0, 0.5, 2.0])


def test_a_check_says_what_it_resolves():
    assert equal(2.0, 2.0, 0.1, because=WHY).resolution == pytest.approx(0.05)
    assert equal([2.0, 1.0], [2.0, 1.0], 0.3, because=WHY).weak, "the entry that resolves least counts"
    assert not equal(0.0, 0.0, 0.1, scale=1.0, because=WHY).weak
    assert equal(0.0, 0.0, 0.1, because=WHY).weak, "of a prediction of 0 a margin resolves nothing"
    assert equal(1.0, 1.0, 1e-12, because=WHY).identity
    assert interval_at_least(0, 1.0, -0.5, 2.5, because=WHY).weak
    assert not interval_at_least(0, -1.0, -1.5, -0.5, because=WHY).weak, "the opposite is shown"


def test_a_check_has_a_reason_and_one_role():
    with pytest.raises(ValueError, match="because"):
        equal(1, 1, 0, because="")
    with pytest.raises(ValueError, match="tests no sentence"):
        equal(1, 1, 0, because=WHY, sentence=0, beyond=True)
    with pytest.raises(ValueError, match="no entries"):
        equal([], [], [], because=WHY)
    roles = [equal(1, 1, 0, because=WHY, **role).role for role in ({}, {"sentence": 0}, {"beyond": True})]
    assert roles == ["theory", "chapter", "beyond"]


def test_student_margins_false_alarms_at_the_stated_rate():
    rows = np.random.default_rng(0).normal(size=(8, 20000))
    alarms = np.abs(rows.mean(axis=0)) > student_margin(rows, alarm=0.01)
    assert abs(alarms.mean() - 0.01) < 5 * np.sqrt(0.01 * 0.99 / 20000)
    _, low, high = paired_interval(rows[:5])
    assert abs(np.mean((low > 0) | (high < 0)) - 0.01) < 5 * np.sqrt(0.01 * 0.99 / 20000)


def test_a_mean_is_judged_over_enough_replicates():
    rows = np.random.default_rng(1).normal(5.0, 1.0, size=(64, 3))
    assert mean_equal(5.0, rows).passed
    assert not mean_equal(8.0, rows).passed
    assert mean_at_least(2.0, rows).passed
    with pytest.raises(ValueError, match="at least 32 replicates"):
        mean_equal(5.0, rows[:31])


def test_names_and_sentences_come_from_the_functions():
    def the_sum_is_two(data):
        """One and one
        are two.
        """
        return equal(2, data, 0.1, because=WHY)

    def not_measured(data):
        """Nothing was fetched."""
        return

    (check,) = judged((the_sum_is_two, not_measured), 2.05)
    assert (check.name, check.says) == ("the sum is two", "One and one are two.")


# --- Verdicts


def check(name="c", *, good=True, weak=False, **role):
    made = equal(1.0, 1.0 if good else 9.0, 0.5 if weak else 0.1, because=WHY, **role)
    return made._replace(name=name)


SENTENCES = tuple(Sentence(chapter="principles", where="here", says=f"{i}.") for i in range(2))


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([check(sentence=0), check(sentence=1)], "supported"),
        ([check(sentence=0), check(sentence=1, good=False)], "conditional"),
        ([check(sentence=0, good=False), check(sentence=1, good=False)], "refuted"),
        ([check(sentence=0), check(sentence=0, good=False), check(sentence=1)], "conditional"),
        ([check(sentence=0), check(sentence=1), check(good=False)], "refuted"),
        ([check(sentence=0), check(sentence=1), check(beyond=True, good=False)], "supported"),
        ([check(sentence=0), check(sentence=1, weak=True)], "conditional"),
        ([check(sentence=0, weak=True), check(sentence=1, weak=True)], "undecided"),
    ],
)
def test_a_claim_is_judged_by_its_sentences(checks, verdict):
    assert claim_verdict(Claim("s", sentences=SENTENCES), checks) == verdict


def test_an_excused_sentence_colours_no_verdict():
    excused = (SENTENCES[0], SENTENCES[1]._replace(excused="no data can be had"))
    assert claim_verdict(Claim("s", sentences=excused), [check(sentence=0)]) == "supported"
    assert sentence_verdict([check(sentence=0)], 1) == "undecided"


def test_a_claim_without_sentences_stands_on_its_theory():
    assert claim_verdict(Claim("s"), [check()]) == "supported"
    assert claim_verdict(Claim("s"), [check(weak=True)]) == "undecided"
    assert claim_verdict(Claim("s"), [check(good=False)]) == "refuted"


def test_controls_must_bite():
    truth = [check("a"), check("b"), check("c", good=False), check("w", weak=True)]
    found = bite(truth, {"bites": [check("a", good=False), check("b"), *truth[2:]], "escapes": truth})
    assert found.overturned == {"bites": ["a"], "escapes": []}, "what fails in the truth too is not overturned"
    assert found.untested == ["b", "c"]
    assert found.escaped == ["escapes"]


def test_what_was_found_beyond_must_come_out_as_stated():
    assert stated_otherwise([check("a", beyond=True), check("b", beyond=True, good=False)]) == ["b"]


# --- Data


class Level(NamedTuple):
    curve: Float[Array, "replicates n"]
    mean: Float[Array, "n"]


class Everything(NamedTuple):
    level: Level
    size: Float[Array, ""]


def everything(n=3, replicates=2):
    return Everything(level=Level(curve=jnp.ones((replicates, n)), mean=np.zeros(n)), size=np.array(0.5))


def test_nested_data_come_back():
    found = npz.unpack(Everything, npz.pack(everything()))
    assert isinstance(found.level, Level)
    np.testing.assert_array_equal(found.level.curve, np.ones((2, 3)))
    assert npz.pack(found) == npz.pack(everything()), "the same bytes for the same arrays"


def test_other_fields_and_large_data_are_refused():
    with pytest.raises(ValueError, match=r"other fields than the claim: \['curve', 'level.curve'"):
        npz.unpack(Everything, npz.pack(everything().level))
    noise = np.random.default_rng(0).normal(size=(400, 400))
    with pytest.raises(ValueError, match=r"over 1,000,000; keep a summary of level.curve"):
        npz.pack(everything()._replace(level=Level(curve=noise, mean=np.zeros(3))))


def test_shapes_are_checked_throughout():
    npz.check_shapes(everything())
    wrong = everything()
    with pytest.raises(TypeError, match=r"level.mean is float.* \(4,\), and not Float \[n\]"):
        npz.check_shapes(wrong._replace(level=wrong.level._replace(mean=np.zeros(4))))
    with pytest.raises(TypeError, match=r"level\.mean is int"):
        npz.check_shapes(wrong._replace(level=wrong.level._replace(mean=np.zeros(3, int))))


# --- Figures


def panel(ax, data):
    """A caption
    of two lines.
    """
    theory_line(ax, np.sin, 0, 6)
    measured_curve(ax, np.linspace(0, 6, 20), np.sin(np.linspace(0, 6, 20)), name="sine")
    ax.set(title="A title that is by far too long for a panel as small as this one is", xlabel="x", ylabel="y")


def test_a_figure_has_letters_captions_statement_and_verdict():
    figure = Figure("AAB/AAC", A=panel, B=panel, C=panel)
    assert figure.captions == dict.fromkeys("abc", "A caption of two lines.")
    page = figure.draw(None, statement="The statement.", verdict="conditional", broken={"“A.”": "2 asked, 1 found"})
    texts = [text.get_text() for text in page.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert "The statement." in texts
    assert "conditional\n“A.”: 2 asked, 1 found" in texts
    assert [ax.get_title(loc="left")[:3] for ax in page.axes] == ["(a)", "(b)", "(c)"]
    assert page.get_figwidth() == 7.0
    assert render(page, stamp="s")["png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", [("AB", "A"), ("ABCDE", "ABCDE"), ("ABB", "AB")])
def test_a_figure_that_is_no_page_is_refused(wrong):
    mosaic, places = wrong
    with pytest.raises(ValueError, match="panel"):
        Figure(mosaic, **dict.fromkeys(places, panel))


def test_what_cannot_be_told_from_nothing_is_drawn_as_a_limit():
    rows = np.random.default_rng(0).normal([1.0, 0.0], 0.1, size=(32, 2))

    def limits(ax, data):
        """Two points."""
        ax.set(yscale="log")
        measured_points(ax, [1, 2], rows, name="points")

    page = Figure("A", A=limits).draw(None, statement="s", verdict="supported")
    triangles = [line for line in page.axes[0].lines if line.get_marker() == "v"]
    assert [line.get_xdata().tolist() for line in triangles] == [[2.0]]
    assert triangles[0].get_ydata()[0] > 0


def test_a_name_keeps_its_colour_and_marker_in_a_figure():
    page = Figure("AAB", A=panel, B=panel).draw(None, statement="s", verdict="supported")
    marked = [line for ax in page.axes for line in ax.lines if line.get_marker() == STYLES[0][1]]
    assert {line.get_color() for line in marked} == {STYLES[0][0]}
    assert len(marked) == 2


# --- The claims of this form


def figure_of(slug) -> Page:
    claim = _claim.load(slug)
    folder = _claim.ROOT / "figures"
    found = npz.unpack(claim.Data, (folder / f"{slug}.npz").read_bytes())
    return claim.module.FIGURE.draw(found, statement=claim.module.CLAIM.statement, verdict="supported")


@pytest.mark.parametrize("slug", NEW)
class TestForm:
    def test_it_reads_as_a_page(self, slug):
        module = _claim.load(slug).module
        for heading in ("**Prediction.**", "**Measurement.**", "**Refuted if"):
            assert heading in module.__doc__
        assert module.CLAIM.finding
        assert module.CLAIM.sentences or module.CLAIM.references or module.CLAIM.own
        assert all(inspect.getdoc(function) for function in module.CHECKS)
        assert next(iter(inspect.signature(module.compute).parameters.values())).name == "key"

    def test_functions_are_short_and_name_their_steps(self, slug):
        file = _claim.claims()[slug]
        files = file.parent.glob("*.py") if file.name == "__init__.py" else [file]
        for source in files:
            for node in ast.walk(ast.parse(Path(source).read_text())):
                if isinstance(node, ast.FunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) else node.body
                    length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                    assert length <= 40, f"{source.name}:{node.lineno} {node.name} has {length} lines"
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                    assert not isinstance(node.targets[0], ast.Tuple), f"{source.name}:{node.lineno} two things at once"

    def test_data_have_few_fields_with_shapes(self, slug):
        def look(kind):
            fields = typing.get_type_hints(kind)
            assert len(fields) <= npz.MOST_FIELDS, f"{kind.__name__} has {len(fields)} fields"
            for name, field in fields.items():
                assert npz.is_level(field) or hasattr(field, "dim_str"), f"{kind.__name__}.{name} has no shape"
                if npz.is_level(field):
                    look(field)

        look(_claim.load(slug).module.Data)

    def test_the_figure_can_be_read_at_700_pixels(self, slug):
        page = figure_of(slug)
        page.set_dpi(100)  # 7 inches are 700 pixels
        page.draw_without_rendering()
        renderer = page.canvas.get_renderer()
        for text in page.findobj(lambda artist: hasattr(artist, "get_fontsize")):
            if text.get_visible() and text.get_text().strip():
                assert text.get_fontsize() >= 7.5, f"{text.get_text()!r} is {text.get_fontsize()} points"
        own = [text for ax in page.axes for text in (*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title)]
        boxes = {text: text.get_window_extent(renderer) for text in (*page.texts, *own) if text.get_text()}
        for text, box in boxes.items():
            assert box.x0 >= -1, f"{text.get_text()!r} leaves the page"
            assert box.x1 <= 701, f"{text.get_text()!r} leaves the page"
        named = [text for ax in page.axes for text in ax.texts if text in boxes]
        for i, first in enumerate(named):
            for second in named[i + 1 :]:
                assert not boxes[first].overlaps(boxes[second]), f"{first.get_text()!r} covers {second.get_text()!r}"
        for ax in page.axes:
            if ax.axison:
                assert ax.get_xlabel(), "an x axis without a label"
                assert ax.get_ylabel(), "a y axis without a label"
                assert not ax.get_legend(), "names stand beside their lines"


# --- The command line


def test_a_new_claim_runs_fails_and_passes_lint(tmp_path, monkeypatch, capsys):
    folder = _claim.ROOT / "experiments" / "contrast"
    path = folder / "a_claim_of_this_test.py"
    try:
        assert main(["new", path.stem]) == 0
        assert main(["new", path.stem]) == 2, "it is there already"
        assert main(["new", "Not a name"]) == 2
        ruff = [str(Path(sys.executable).parent / "ruff")]
        assert subprocess.run([*ruff, "check", "-q", str(path)], cwd=_claim.ROOT).returncode == 0
        assert subprocess.run([*ruff, "format", "-q", "--check", str(path)], cwd=_claim.ROOT).returncode == 0
        capsys.readouterr()
        assert main(["run", path.stem, "--size", "quick", "--out", str(tmp_path)]) == 1
        said = " ".join(capsys.readouterr().out.split())
        assert "the law is uniform (= 4.85203, measured 4.3" in said, "what was predicted, and what was found"
    finally:
        path.unlink(missing_ok=True)


def test_the_list_can_be_read_at_80_columns(monkeypatch, capsys):
    monkeypatch.setattr("experiments.__main__.CONSOLE", Console(width=80, highlight=False))
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.split()[:1] == [slug] for line in lines) for slug in _claim.claims())
    assert max(map(len, lines)) <= 80
