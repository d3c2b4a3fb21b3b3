"""One report for all tests of this directory; with `--reliability-page` it is written to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability-page", help="where the page of what was tried is written")


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    made = Report()
    yield made
    path = request.config.getoption("--reliability-page", default=None)
    if path is not None:
        Path(path).write_text(made.page())
