"""Moderation in the web flow (`POST /backend-api/moderations`)."""

from __future__ import annotations

from typing import Final, cast

from chatgpt.core.error_bodies import redacted_body
from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.needs import Exchange
from chatgpt.core.web.requests import WebCall
from chatgpt.core.wire.web import ModerationsJSONResult

MODERATION_MODEL: Final = "text-moderation-playground"


def send_moderation(call: WebCall, text: str) -> Exchange[ModerationsJSONResult]:
    """Ask whether a text is against the rules.

    Args:
        call: of a client of sessions.
        text: the text, checked.

    Raises:
        ChatGPTError: whatever went wrong.
    """
    answer = yield from call.ask("POST", "/moderations", {"input": text, "model": MODERATION_MODEL})
    if not isinstance(answer.get("flagged"), bool):
        raise InvalidResponseError(
            "The answer holds no moderation.", body=redacted_body(answer, call.redact)
        )
    return cast("ModerationsJSONResult", answer)
