"""Which tests may be skipped, and where none may be: NSX_NOTHING_SKIPPED=1, as CI sets it."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

STRICT = os.environ.get("NSX_NOTHING_SKIPPED") == "1"

# reasons that lie in what a run is, not in what is missing on the machine
OF_THE_PRECISION = ("finite differences", "compared in float64", "the optimum is flat")
OF_THE_PLATFORM = ("forced host devices", "loopback needs the CPU's collectives", "root may write anywhere")


def lacks_a_tool(reason: str) -> bool:
    """True where a test was skipped for want of something that could have been installed."""
    reason = re.sub(r"^Skipped: ", "", reason)
    return not reason.startswith(OF_THE_PRECISION + OF_THE_PLATFORM)


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where nothing may be skipped, make a skip for want of a tool a failure."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if lacks_a_tool(reason):
            report.outcome = "failed"
            report.longrepr = f"NSX_NOTHING_SKIPPED: {reason}"


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
