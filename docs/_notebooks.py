"""The notebooks, run from top to bottom, as .ipynb files and as pages of the site."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs import ROOT, _pages
from experiments import _compiled
from experiments._files import write_atomically

SOURCES = [ROOT / "notebooks" / f"{name}.py" for name in (
    "tour", "entropy_and_temperature", "auditing_a_sampler", "the_ball_and_the_game"
)]  # fmt: skip
BUILT = ROOT / "build" / "notebooks"


def executed(source: Path) -> Path:
    """The .ipynb of a notebook: of its last run, or run now where it, nsx or the locked versions changed since."""
    target = BUILT / f"{source.stem}.ipynb"
    stands_on = [source, Path(__file__), ROOT / "requirements.lock", *(ROOT / "nsx").rglob("*.py")]
    if not target.exists() or target.stat().st_mtime < max(f.stat().st_mtime for f in stands_on):
        BUILT.mkdir(parents=True, exist_ok=True)
        run(source, target)
    return target


def run(source: Path, target: Path) -> None:
    """Run a notebook's cells into `target`, in this process and a folder of its own, as strictly as the tests run.

    What a cell prints and draws is kept; a value on its last line is not. No kernel is needed.
    """
    import jax
    import jupytext
    import matplotlib.pyplot as plt
    import nbformat

    _compiled.keep()
    notebook, space = jupytext.read(source), {"__name__": "__main__"}
    strict = (jax.numpy_rank_promotion("raise"), jax.debug_key_reuse(True), warnings.catch_warnings())
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        for context in (*strict, plt.rc_context(), contextlib.chdir(folder)):
            stack.enter_context(context)
        warnings.simplefilter("error")
        plt.switch_backend("Agg")
        plt.rcdefaults()
        plt.close("all")
        stack.callback(plt.close, "all")
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = list(outputs(cell.source, space, source.name))
        if left := list(Path(folder).iterdir()):
            raise ValueError(f"{source.name} leaves {left[0].name} behind: a notebook writes no file.")
    write_atomically(target, nbformat.writes(notebook).encode())


def outputs(code: str, space: dict[str, Any], name: str) -> Iterator[Any]:
    """What a cell prints, and the figures it draws."""
    import matplotlib.pyplot as plt
    from nbformat.v4 import new_output

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.parse(code), f"{name}, the cell {code.partition(chr(10))[0]!r}", "exec"), space)
    if printed.getvalue():
        yield new_output("stream", name="stdout", text=printed.getvalue())
    for number in plt.get_fignums():
        picture = base64.b64encode(drawn(plt.figure(number), name)).decode()
        yield new_output("display_data", {"image/png": picture, "text/plain": "<Figure>"})
    plt.close("all")


def drawn(figure: Any, name: str) -> bytes:
    """The PNG of a figure; a panel that is empty or has no words is an error."""
    for axis in figure.axes:
        if not axis.has_data() or not (axis.get_title() or axis.get_xlabel()):
            raise ValueError(f"{name} draws a panel without data or without a title or label.")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160)
    return file.getvalue()


def page(source: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of an executed notebook, and its pictures by file name."""
    import nbformat

    notebook = nbformat.read(executed(source), as_version=4)
    pictures: dict[str, bytes] = {}
    lines = ["---\nhide: [toc]\n---", ""]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines += [_pages.relinked(cell.source, source.parent, "../")[0], ""]
        elif cell.cell_type == "code":
            lines += ["```python", cell.source, "```", ""]
            for output in cell.outputs:
                lines += shown(output, source.stem, pictures)
    name = source.relative_to(ROOT).as_posix()
    lines.append(f"*This page is `{name}`, run when the site was built; `make notebooks` makes an .ipynb of it.*")
    return "\n".join(lines) + "\n", pictures


def shown(output: Any, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """An output as Markdown; pictures are put aside."""
    if output.output_type == "stream":
        yield f"``` {{.text .output}}\n{output.text.rstrip()}\n```"
    else:
        name = f"{stem}_{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(output["data"]["image/png"])
        yield f"![Figure {len(pictures)} of this notebook, described in the text]({name})"
    yield ""
