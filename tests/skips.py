"""Which tests may be skipped, and where none may be: NSX_NOTHING_SKIPPED=1, as CI sets it."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

STRICT = os.environ.get("NSX_NOTHING_SKIPPED") == "1"

# reasons that lie in the run or in the function, not in what is missing on the machine; any other fails where none may
OF_THE_PRECISION = (r"finite differences", r".* needs? float64", r"compared in float64", r"the optimum is flat")
OF_THE_PRECISION += (r"there is no float64 in this run",)
OF_THE_PLATFORM = (r"forced host devices", r"loopback needs the CPU's collectives", r"root may write anywhere")
OF_THE_FUNCTION = (r"has no (gradient|temperature)", r"runs on the host")
NAMED = re.compile("|".join(OF_THE_PRECISION + OF_THE_PLATFORM + OF_THE_FUNCTION))


def lacks_a_tool(reason: str) -> bool:
    """True where a test was skipped for want of something that could have been installed."""
    return not NAMED.match(re.sub(r"^Skipped: ", "", reason))


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where nothing may be skipped, make a skip for want of a tool a failure."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if lacks_a_tool(reason):
            report.outcome = "failed"
            report.longrepr = f"{reason} (NSX_NOTHING_SKIPPED=1; reasons that may stand are named in tests/skips.py)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test."""
    report = yield
    refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Of a file of tests."""
    report = yield
    refuse(report)
    return report
