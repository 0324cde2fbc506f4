"""python -m docs site | notebooks: build the site into build/site, or the notebooks into build/notebooks.

What follows `site` is for mkdocs build.
"""

import argparse
import os
import subprocess
import sys

from docs import ROOT, _notebooks


def main() -> int:
    """Build what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    parser.add_argument("what", choices=("site", "notebooks"))
    options, more = parser.parse_known_args()
    if options.what == "site":
        command = [sys.executable, "-m", "mkdocs", "build", *more]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}).returncode
    for source in _notebooks.SOURCES:
        sys.stdout.write(f"{_notebooks.executed(source).relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
