"""The environment variables that clients read, for both twins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from chatgpt.core.secrets import API_KEY_VARIABLE, API_ORG_VARIABLE, Secret, wrap_url

_PLAIN: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE_URL", "OPENAI_PROJECT_ID", "OPENAI_MODEL")
_SECRET: Final = (API_KEY_VARIABLE, API_ORG_VARIABLE, "OPENAI_API_ORG")


def read_environment() -> Mapping[str, object]:
    """The variables that are set and not blank, secrets wrapped. No other variable is looked at."""
    plain = {name: os.environ.get(name, "").strip() for name in _PLAIN}
    secret = {name: Secret(os.environ.get(name, "").strip(), name) for name in _SECRET}
    return {
        **{name: wrap_url(value) for name, value in plain.items() if value},
        **{name: value for name, value in secret.items() if value.reveal()},
    }
