"""The notebooks, executed, as .ipynb files and as pages of the site."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs import ROOT

SOURCES = [ROOT / "notebooks" / f"{name}.py" for name in (
    "tour", "entropy_and_temperature", "auditing_a_sampler", "the_ball_and_the_game"
)]  # fmt: skip
BUILT = ROOT / "build" / "notebooks"


def executed(source: Path) -> Path:
    """The .ipynb of a notebook, from its last run, or run now where the notebook is newer or never ran."""
    target = BUILT / f"{source.stem}.ipynb"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        run(source)
    return target


def run(source: Path) -> Path:
    """Execute a notebook into its .ipynb; an exception in a cell is raised here with the cell."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    BUILT.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, BUILT / f"{source.stem}.ipynb")
    return BUILT / f"{source.stem}.ipynb"


def page(source: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of an executed notebook, and its pictures by file name."""
    import nbformat

    notebook = nbformat.read(executed(source), as_version=4)
    pictures: dict[str, bytes] = {}
    lines = ["---\nhide: [toc]\n---", ""]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines += [cell.source, ""]
        elif cell.cell_type == "code":
            lines += ["```python", cell.source, "```", ""]
            for output in cell.outputs:
                lines += shown(output, source.stem, pictures)
    name = source.relative_to(ROOT).as_posix()
    lines.append(f"*This page is `{name}`, run when the site was built; `make notebooks` makes an .ipynb of it.*")
    return "\n".join(lines) + "\n", pictures


def shown(output: Any, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """An output as Markdown; pictures are put aside."""
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}_{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        yield f"![Figure {len(pictures)} of this notebook, described in the text]({name})"
    elif output.output_type == "stream" and output.name == "stdout":
        yield f"``` {{.text .output}}\n{output.text.rstrip()}\n```"
    elif "text/plain" in data:
        yield f"``` {{.text .output}}\n{data['text/plain'].rstrip()}\n```"
    yield ""
