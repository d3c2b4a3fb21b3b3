"""Moderation: asking whether a text is against the rules (`POST /moderations`)."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from attrs import field, frozen

from chatgpt.core.error_bodies import described_by, redacted_body
from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.limits import Limits
from chatgpt.core.needs import Exchange, Surroundings
from chatgpt.core.options import ClientSettings
from chatgpt.core.retry import RetryPolicy
from chatgpt.core.sending import json_request, read_document, send_with_retries
from chatgpt.core.validation import text_to_send

DEFAULT_MODERATION_MODEL: Final = "omni-moderation-latest"


@frozen(kw_only=True)
class Moderation:
    """What a moderation model says of a text.

    Attributes:
        flagged: whether the text is against the rules of any category.
        categories: whether it is, by category.
        category_scores: how likely it is, from 0 to 1, by category.
        id: the server's id.
        model: the model that answered.
        detail: the server's whole answer (parsed JSON).
    """

    flagged: bool
    categories: Mapping[str, bool]
    category_scores: Mapping[str, float]
    id: str | None
    model: str | None
    detail: Mapping[str, object] = field(repr=False)


def send_moderation(
    text: object, model: object, settings: ClientSettings, surroundings: Surroundings
) -> Exchange[Moderation]:
    """Ask whether a text is against the rules.

    Raises:
        TypeError, ValueError: text or model is wrong; nothing was sent.
        ChatGPTError: whatever went wrong.
    """
    body = {"model": text_to_send("model", model), "input": text_to_send("text", text)}
    redact = settings.redactor()
    limits = Limits(
        surroundings.clock, total=settings.timeout, idle=inf, connect=settings.connect_timeout
    )
    head = yield from send_with_retries(
        json_request("POST", settings.url("/moderations"), settings.request_headers(), body),
        limits=limits,
        policy=RetryPolicy(settings.max_retries),
        surroundings=surroundings,
        redact=redact,
    )
    answer = yield from read_document(head, limits, redact)
    results = answer.get("results")
    result = results[0] if isinstance(results, list) and results else None
    if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
        error = InvalidResponseError(
            "The answer holds no moderation.", body=redacted_body(answer, redact)
        )
        raise described_by(head, error, redact)
    categories, scores = result.get("categories"), result.get("category_scores")
    return Moderation(
        flagged=result["flagged"],
        categories=categories if isinstance(categories, dict) else {},
        category_scores=scores if isinstance(scores, dict) else {},
        id=_text(answer.get("id")),
        model=_text(answer.get("model")),
        detail=answer,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
