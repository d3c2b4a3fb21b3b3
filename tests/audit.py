"""Asks for known vulnerabilities of what is installed, and of the lowest versions that are allowed: `make audit`.

Strategy: pip-audit asks PyPI, or else OSV. By itself it passes over a package that it cannot ask about, and finds
"no known vulnerabilities". So its answer counts only where it holds every package.

The exit code is 0 where nothing is known, 1 where something is, 2 where the advisories could not be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from tests.lowest import constraints

SERVICES: Final = ("pypi", "osv")
OWN: Final = "chatgpt-sdk"


def advisories(pins: Sequence[str], service: str) -> list[str] | None:
    """What a service knows of these versions; `None` where it does not answer for each of them."""
    with tempfile.TemporaryDirectory() as directory:
        listed = Path(directory) / "requirements.txt"
        listed.write_text("\n".join(pins))
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format=json"]
        command += [
            "--progress-spinner=off",
            f"--vulnerability-service={service}",
            f"--requirement={listed}",
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        asked: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    if len(asked) < len(pins) or any("skip_reason" in package for package in asked):
        return None
    return [
        f"{package['name']} {package['version']}: {found['id']} {' '.join(found['aliases'])},"
        f" mended in {', '.join(found['fix_versions']) or 'no version'}"
        for package in asked
        for found in package["vulns"]
    ]


def main() -> int:
    installed = {f"{each.name}=={each.version}" for each in distributions() if each.name != OWN}
    problems: list[str] = []
    for what, pins in (("installed", sorted(installed)), ("lowest", sorted(constraints()))):
        answers = (advisories(pins, service) for service in SERVICES)
        found = next((answer for answer in answers if answer is not None), None)
        if found is None:
            print(
                "NOT AUDITED: neither PyPI nor OSV could be asked for advisories.", file=sys.stderr
            )
            return 2
        problems += [f"{what}: {problem}" for problem in found]
        print(f"{len(pins)} {what} packages were asked about.")
    print("\n".join(problems) or "Nothing is known against them.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
