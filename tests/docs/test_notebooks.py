"""The notebooks run from top to bottom, each draws a figure, and they need nothing but nsx and what it stands on."""

import ast
import os
import subprocess
import sys
import time
import warnings

import nbformat
import pytest

from docs import ROOT, _notebooks

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
ALLOWED = {"jax", "matplotlib", "nsx", "numpy"}
HEAD = NOTEBOOKS[0].read_text(encoding="utf-8").partition("# %%")[0] + "# %%\n"


@pytest.fixture(scope="module")
def ran():
    """All of them, run as `make notebooks` does, unless the test of the site had them run."""
    run = subprocess.run([sys.executable, "-m", "docs", "notebooks"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return [ROOT / line for line in run.stdout.splitlines()]


def test_there_are_four_and_the_site_has_them():
    assert len(NOTEBOOKS) == 4
    assert sorted(_notebooks.SOURCES) == NOTEBOOKS


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_run_and_draw(ran):
    assert sorted(file.stem for file in ran) == [file.stem for file in NOTEBOOKS]
    for file in ran:
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell.outputs]
        assert [o for o in outputs if o.output_type == "stream"], f"{file.stem} prints nothing"
        assert [o for o in outputs if "image/png" in o.get("data", {})], f"{file.stem} draws nothing"


PLOT = "import matplotlib.pyplot as plt\nfigure, axis = plt.subplots()\n"


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (f"{PLOT}axis.set(title='A panel')", ValueError, "panel without data"),
        (f"{PLOT}axis.plot([1, 2])", ValueError, "or without a title"),
        ("open('left.txt', 'w').close()", ValueError, "leaves left.txt behind"),
        ("import warnings\nwarnings.warn('old')", UserWarning, "old"),
        ("import jax\nk = jax.random.key(0)\njax.random.normal(k)\njax.random.normal(k)", Exception, "key"),
        ("import jax.numpy as jnp\njnp.ones(3) + jnp.ones((3, 3))", ValueError, "rank_promotion"),
    ],
)
def test_a_careless_notebook_is_an_error(code, error, words, tmp_path):
    (tmp_path / "careless.py").write_text(HEAD + code + "\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strict by itself, not because pytest is
        with pytest.raises(error, match=words):
            _notebooks.run(tmp_path / "careless.py", tmp_path / "careless.ipynb")
    assert not (tmp_path / "careless.ipynb").exists()


def test_what_a_cell_prints_and_draws_is_kept(tmp_path):
    code = f"print('six', 6)\n{PLOT}axis.plot([1, 2])\naxis.set(title='A panel')\n# %%\nprint(axis.get_title())"
    (tmp_path / "careful.py").write_text(HEAD + code + "\n", encoding="utf-8")
    _notebooks.run(tmp_path / "careful.py", tmp_path / "careful.ipynb")
    first, second = (cell.outputs for cell in nbformat.read(tmp_path / "careful.ipynb", as_version=4).cells[-2:])
    assert [o.output_type for o in first] == ["stream", "display_data"]
    assert (first[0].text, second[0].text) == ("six 6\n", "A panel\n")


def test_a_notebook_runs_again_once_it_or_what_it_stands_on_is_newer(tmp_path, monkeypatch):
    runs, later = [], time.time() + 1000
    files = [tmp_path / name for name in ("notebook.py", "requirements.lock", "nsx/audit/_audit.py")]
    (tmp_path / "nsx" / "audit").mkdir(parents=True)
    for file in files:
        file.touch()
    monkeypatch.setattr(_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(_notebooks, "BUILT", tmp_path / "build")
    monkeypatch.setattr(_notebooks, "run", lambda source, target: (runs.append(source), target.touch()))
    for wanted in (1, 1):
        os.utime(_notebooks.executed(files[0]), (later, later))
        assert len(runs) == wanted
    for file in files:
        os.utime(file, (later + 1, later + 1))
        assert _notebooks.executed(files[0]).name == "notebook.ipynb"
        os.utime(file, (0, 0))
        os.utime(tmp_path / "build" / "notebook.ipynb", (later, later))
    assert len(runs) == 1 + len(files)


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
    assert len(lines) <= 160, "short: under 160 lines"
