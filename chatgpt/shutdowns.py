"""A warning about a model that OpenAI has shut down: once for each model."""

from __future__ import annotations

import sys
import warnings
from datetime import datetime

from chatgpt.core.models import is_shut_down, shutdown_day

_warned: set[str] = set()


def warn_of_shutdown(model: str, now: datetime) -> None:
    """Warn (`FutureWarning`) that a model is past its day, the first time that it is asked.

    Args:
        model: its name.
        now: the date.
    """
    if model in _warned or not is_shut_down(model, now):
        return
    _warned.add(model)
    warnings.warn(
        f"OpenAI has shut down the model {model!r} ({shutdown_day(model)}): give another one, unless your server still has it.",
        FutureWarning,
        stacklevel=_levels_to_the_caller(),
    )


def _levels_to_the_caller() -> int:
    """How far up the first frame is that is not the SDK's."""
    levels, frame = 1, sys._getframe(1)  # noqa: SLF001 - warnings do the same; 3.12 has `skip_file_prefixes`
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        levels, frame = levels + 1, frame.f_back
    return levels


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("chatgpt", "chatgpt_async")
