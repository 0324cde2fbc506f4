"""The notebooks run from top to bottom, each draws a figure, and they need nothing but nsx and what it stands on."""

import ast
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.py"))
ALLOWED = {"jax", "matplotlib", "nsx", "numpy"}


@pytest.fixture
def figures():
    """The figures a notebook left open, in matplotlib's own style whatever ran before; closed afterwards."""
    plt.close("all")
    with plt.rc_context():
        plt.rcdefaults()
        plt.switch_backend("Agg")
        yield lambda: [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")


def test_there_are_four():
    assert len(NOTEBOOKS) == 4


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda f: f.stem)
def test_runs_and_draws(notebook, tmp_path, monkeypatch, figures):
    monkeypatch.chdir(tmp_path)
    exec(compile(notebook.read_text(encoding="utf-8"), notebook.name, "exec"), {"__name__": "__main__"})
    drawn = figures()
    assert drawn, "no figure"
    for axis in drawn[0].axes:
        assert axis.get_title() or axis.get_xlabel(), "a panel without a word"
        assert axis.has_data(), "an empty panel"
    assert not list(tmp_path.iterdir()), "a notebook leaves no file behind"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda f: f.stem)
def test_imports_only_the_library(notebook):
    """No hidden helper: what a notebook uses is nsx, or in the notebook."""
    tree = ast.parse(notebook.read_text(encoding="utf-8"))
    roots = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    roots |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert roots <= ALLOWED | sys.stdlib_module_names, f"imports {roots - ALLOWED}"
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    assert not [name for name in names if name.startswith("_")], "private parts of nsx"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda f: f.stem)
def test_is_a_short_percent_notebook(notebook):
    lines = notebook.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# ---"
    assert "#       format_name: percent" in lines
    assert "# %% [markdown]" in lines
    assert len(lines) <= 140, "short: under 140 lines"
