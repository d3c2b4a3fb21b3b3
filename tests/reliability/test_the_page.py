"""`docs/reliability.md` says what the tests of this directory show. It runs after them: files run by their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.reliability.report import FAILINGS, Report

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def rows_of(page: str) -> set[tuple[str, str]]:
    """What was wrong and what the caller saw, without engines and figures: both differ from run to run."""
    return set(re.findall(r"^\| (.+?) \| [^|]+ \| (.+?) \| [\d,]+ \|$", page, re.MULTILINE))


@pytest.fixture
def page(request: pytest.FixtureRequest) -> str:
    if request.config.getoption("--reliability-page", default=None):
        pytest.skip("it is written just now")
    return PAGE.read_text()


def test_the_page_is_of_this_code(page: str, report: Report) -> None:
    unknown = rows_of(report.page()) - rows_of(page)
    assert unknown == set(), "run `make reliability`"


def test_the_page_tells_of_no_failing(page: str) -> None:
    assert re.search(r"\*\*[\d,]+ cases: " + ", ".join(f"0 {name}" for name in FAILINGS), page)
    groups = set(re.findall(r"^## (.+)$", page, re.MULTILINE))
    assert groups >= {"Deadlines", "Faults", "Fuzzing", "Retries", "Secrets", "Sharing", "Stopping"}


def test_the_rows_are_found() -> None:
    report = Report()
    report.tried("Faults", "a | b", "sync", "`APIConnectionError`", 1234)
    report.tried("Faults", "a | b", "trio", "`APIConnectionError`")
    report.count("hangs")
    page = report.page()
    assert rows_of(page) == {("a &#124; b", "`APIConnectionError`")}
    assert "1,235 cases: 1 hangs, 0 untyped errors" in page
    assert "| sync, trio |" in page
