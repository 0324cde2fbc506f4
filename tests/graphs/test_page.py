"""docs/graph_negatives.md is a script that prints what it says."""

import contextlib
import io
import re

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "graph_negatives.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", PAGE, flags=re.S)


def test_the_page_prints_what_it_says():
    assert len(BLOCKS) == PAGE.count("```python") == 6
    names = {"__name__": "page"}
    for code, printed in BLOCKS:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(code, "docs/graph_negatives.md", "exec"), names)
        assert shown.getvalue() == printed
