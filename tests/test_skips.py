"""In CI a test that lacks a tool fails; one that does not apply to the precision or the platform is skipped."""

import os
import subprocess
import sys

import pytest

from tests import skips
from tests.helpers import ROOT

pytestmark = pytest.mark.slow  # the same in both precisions

TESTS = """
import pytest

@pytest.fixture
def tool():
    pytest.skip("no Chromium: install one")

def test_with_a_fixture(tool): ...
def test_with_an_import():
    pytest.importorskip("a_library_that_is_not_there")
@pytest.mark.skipif(True, reason="finite differences need float64")
def test_of_another_precision(): ...
@pytest.mark.skipif(True, reason="forced host devices")
def test_of_another_platform(): ...
@pytest.mark.xfail(reason="known")
def test_that_fails_as_it_should():
    assert False
def test_that_passes(): ...
"""
WHOLE_FILE = 'import pytest\npytest.importorskip("a_library_that_is_not_there")\n'
HOOKS = "from tests.skips import pytest_make_collect_report, pytest_runtest_makereport\n"


@pytest.mark.parametrize(
    ("strict", "closing"), [("1", "1 passed, 2 skipped, 1 xfailed"), ("", "1 passed, 5 skipped, 1 xfailed")]
)
def test_a_skip_for_want_of_a_tool(tmp_path, strict, closing):
    (tmp_path / "conftest.py").write_text(HOOKS)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_file.py").write_text(WHOLE_FILE)
    environment = os.environ | {"NSX_NOTHING_SKIPPED": strict, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--continue-on-collection-errors", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (1 if strict else 0), done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert closing in last
    assert ("1 failed" in last and "2 errors" in last) == bool(strict)


def test_reasons():
    assert skips.lacks_a_tool("Skipped: could not import 'torch'")
    assert skips.lacks_a_tool("wordnet is not in the data cache")
    assert skips.lacks_a_tool("this environment has no pip")
    assert skips.lacks_a_tool("no Chromium: install one")
    for reason in (
        "compared in float64",
        "a limit of differences needs float64",
        "forced host devices",
        "has no gradient",
    ):
        assert not skips.lacks_a_tool(f"Skipped: {reason}")
