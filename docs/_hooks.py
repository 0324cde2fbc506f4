"""MkDocs events: pages are made, formulas become MathML, and a site that lacks a public symbol is no site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import ziamath  # noqa: E402
from mkdocs.exceptions import PluginError  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

from docs import _formulas, _gallery, _notebooks, _pages, _reference, _sources  # noqa: E402

HIDDEN = {"index.md": "navigation", "traps.md": "toc"}  # menus that would be empty
FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"


def on_config(config: Any) -> Any:
    """The menu, from what there is."""
    own = {
        name: title
        for name, title in (
            ("log_q.md", "What log q does"),
            ("traps.md", "Traps"),
            ("devices.md", "Devices"),
            ("big_batches.md", "Big batches"),
            ("graph_negatives.md", "Negatives on large graphs"),
        )
        if name in _pages.PAGES.values()
    }
    more = [{title: name} for name, title in own.items()]
    more += [{"Notation": "notation.md"}, {"Sources": "sources.md"}, {"Data": "data.md"}]
    more += [{"Contributing": "contributing.md"}, {"Changes": "changelog.md"}]
    named = {name.removeprefix("nsx."): f"reference/{name.removeprefix('nsx.')}.md" for name in _reference.modules()}
    config.nav = [
        {"Home": "index.md"},
        {"Notebooks": [f"notebooks/{source.stem}.md" for source in _notebooks.SOURCES]},
        {"Gallery": ["gallery.md", *(f"claims/{slug}.md" for slug in _gallery.results())]},
        {"Published tables": "published.md"},
        {"Reference": ["reference/index.md", *({title: path} for title, path in named.items())]},
        {"More": more},
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Every page that is made, and every picture."""
    pictures = set(_gallery.figures())
    texts = {**_gallery.pages(), **_reference.pages(), "sources.md": _sources.page()}
    for source, name in _pages.PAGES.items():
        text, shown = _pages.page(source)
        texts[name] = f"---\nhide: [{HIDDEN[name]}]\n---\n{text}" if name in HIDDEN else text
        pictures.update(shown)
    for source in _notebooks.SOURCES:
        texts[f"notebooks/{source.stem}.md"], drawn = _notebooks.page(source)
        for name, content in drawn.items():
            add(files, File.generated(config, f"notebooks/{name}", content=content))
    for name, text in texts.items():
        add(files, File.generated(config, name, content=text))
    for name in pictures:
        if not (ROOT / name).is_file():
            raise PluginError(f"the picture {name} is shown but does not exist")
        add(files, File.generated(config, name, abs_src_path=str(ROOT / name)))
    add(files, File.generated(config, "assets/stix-two-math.ttf", abs_src_path=str(FONT)))
    return files


def add(files: Files, file: File) -> None:
    """Put a file in, in place of one of that name."""
    known = files.get_file_from_path(file.src_uri)
    if known:
        files.remove(known)
    files.append(file)


def on_page_content(html: str, page: Any, **kwargs: Any) -> str:
    """Formulas as MathML."""
    try:
        return _formulas.render(html)
    except ValueError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from None


def on_post_build(config: Any) -> None:
    """Every public symbol is in the reference."""
    missing = _reference.missing(Path(config.site_dir))
    if missing:
        raise PluginError(f"the reference lacks {', '.join(missing)}")
