"""A process in which one client does one scenario: `python -I benchmarks/client_process.py SCENARIO CLIENT ORIGIN SIZES`.

Strategy: what a scenario measures is reported as lines of JSON, each as soon as it is known.

Rules:

1. It loads what it needs for its scenario, and nothing that a client would load, but for `json` and what Python loads itself.
2. Sizes are those of `sizes.py`, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def measuring(scenario: str) -> Callable[[str, str, Any], None]:
    """What measures a client in a scenario."""
    if scenario == "calls":
        from benchmarks.calls import measure
    elif scenario == "prompts":
        from benchmarks.prompts import measure
    elif scenario == "crowds":
        from benchmarks.crowds import measure
    else:
        from benchmarks.runs import measure
    return measure


if __name__ == "__main__":
    # For the files beside this one, and for them alone: clients come from where they are installed.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib is an import
    measure = measuring(sys.argv[1])
    sys.path.pop(0)
    measure(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
