"""The environment variables that clients read, for both twins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from chatgpt.core.secrets import (
    ACCESS_TOKEN_VARIABLE,
    API_KEY_VARIABLE,
    API_ORG_VARIABLE,
    CLEARANCE_TOKEN_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    Secret,
    wrap_url,
)

_PLAIN: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE_URL", "OPENAI_PROJECT_ID", "OPENAI_MODEL")
_SECRET: Final = (
    API_KEY_VARIABLE,
    API_ORG_VARIABLE,
    "OPENAI_API_ORG",
    ACCESS_TOKEN_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    CLEARANCE_TOKEN_VARIABLE,
)


def read_environment() -> Mapping[str, object]:
    """The variables that are set and not blank, secrets wrapped. No other variable is looked at."""
    plain = {name: os.environ.get(name, "").strip() for name in _PLAIN}
    secret = {name: Secret(os.environ.get(name, "").strip(), name) for name in _SECRET}
    return {
        **{name: wrap_url(value) for name, value in plain.items() if value},
        **{name: value for name, value in secret.items() if value.reveal()},
    }


def recall_secrets(given: Mapping[str, object]) -> dict[str, object]:
    """Options from a pickle, their secrets read from the environment variables that they name."""
    return {name: _recalled(value) for name, value in given.items()}


def _recalled(value: object) -> object:
    if isinstance(value, Secret) and not value.is_known and value.variable is not None:
        found = Secret(os.environ.get(value.variable, "").strip(), value.variable)
        return found if found.reveal() else value
    if isinstance(value, dict):
        return recall_secrets(value)
    return value
