"""A browser for tests of pages: headless Chromium, driven by selenium.

Where Chromium or its driver is missing (Debian: `chromium`, `chromium-driver`), the tests that need one are skipped, and say
which. A test module takes the browser by importing the fixture `browser`; all its tests share one.

Rules:

1. Nothing is downloaded: selenium is told where the driver is, and the browser has none of its services of the network.
2. Nobody waits for a time: `wait(browser, ...)` waits for something to be so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")

LIMIT: Final = 30.0
"""Seconds for whatever a test waits for; nothing takes that long unless it hangs."""

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """A browser with an empty profile, at 1280 by 800 pixels, for the tests of a module."""
    chromium, driver = _program("chromium"), _program("chromedriver")
    with (
        tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        _forget_proxies(monkeypatch)  # selenium would ask them for the driver
        with Chrome(options=options, service=Service(executable_path=driver)) as opened:
            opened.set_page_load_timeout(LIMIT)
            opened.set_script_timeout(LIMIT)
            yield opened


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def wait(browser: Chrome, is_so: Callable[[Chrome], T], seconds: float = LIMIT) -> T:
    """Wait until a function of the browser gives something true, and return that."""
    return WebDriverWait(browser, seconds, poll_frequency=0.02).until(is_so)


def complaints(browser: Chrome) -> Sequence[str]:
    """What the pages have complained of since this was last asked: errors of scripts, refused sources, failed requests."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call] # selenium types it by half
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
