"""The messages that are sent, and the report of what was left out.

Strategy: the reply's room is reserved first; then come the system message and the new message,
which cannot be left out; then as many whole turns of history as fit, newest first, in one pass.

Rules:

1. Bounds come before counts: a prompt that is proven to fit loads no tokenizer (budget.py). The
   proof holds for the bundled encodings only; a caller's tokenizer is always asked.
2. A prompt never exceeds its limit. What cannot fit raises before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import Literal

from attrs import field, frozen

from chatgpt.core.budget import TOKENS_PER_REPLY, Counter, cost_bound, prompt_cost
from chatgpt.core.errors import PromptTooLongError
from chatgpt.core.messages import ChatMessage, ContextReport
from chatgpt.core.models import ModelFamily
from chatgpt.core.needs import CountTokens, Exchange, LoadTokenizer
from chatgpt.core.surrogates import lenient
from chatgpt.core.threads import History, fit_turns
from chatgpt.core.wire.openai import ChatCompletionRequestMessage


def default_system_message(now: datetime) -> str:
    """The instructions that are sent when the caller gives none."""
    return (
        "You are ChatGPT, a large language model trained by OpenAI. "
        f"Answer as concisely as possible.\nCurrent date: {now:%Y-%m-%d}"
    )


@frozen
class Prompt:
    """What is sent for a reply.

    Attributes:
        messages: in the order of the conversation, the system message first.
        question: the new message, with its count where it was counted.
        context: the report for the caller.
        recounted: older messages that were counted for the first time, oldest first; saved with
            the reply.
    """

    messages: Sequence[ChatMessage] = field(repr=False)
    question: ChatMessage
    context: ContextReport
    recounted: tuple[ChatMessage, ...] = field(repr=False)


def build_prompt(
    question: ChatMessage,
    history: History,
    *,
    system_message: str,
    family: ModelFamily,
    reserved_tokens: int,
    tokenizer: CountTokens | None,
) -> Exchange[Prompt]:
    """Choose what is sent.

    Args:
        question: the new message.
        history: the thread that it replies to.
        system_message: the instructions; `""` for none.
        family: the model's limits and encoding.
        reserved_tokens: what is kept free for the reply.
        tokenizer: the caller's own, or `None` for the family's encoding.

    Raises:
        PromptTooLongError: system message and question alone exceed the limit.
    """
    limit = family.prompt_limit(reserved_tokens)
    encoding = family.encoding if tokenizer is None else None
    system = [ChatMessage(id="", text=system_message, role="system")] if system_message else []
    fixed = [*system, question]
    counting: Literal["exact", "approximate", "custom", "bound"]
    counting = "custom" if tokenizer else "approximate" if family.is_approximate else "exact"
    recounted: dict[str, ChatMessage] = {}

    tokens = TOKENS_PER_REPLY + sum(cost_bound(m, encoding) for m in (*fixed, *history.messages))
    if tokenizer is None and (limit is None or tokens <= limit):
        counting = "bound"
        sent_count = len(history.messages)
    else:
        counter = Counter(tokenizer or (yield from LoadTokenizer(family.encoding)), encoding)
        tokens = prompt_cost(fixed, counter)
        room = inf if limit is None else limit - tokens
        if limit is not None and tokens > limit:
            raise _too_long(tokens, limit, reserved_tokens, family)
        sent_count, history_tokens = fit_turns(history.messages, counter.cost, room)
        tokens += history_tokens
        recounted = counter.counted
        recounted.pop("", None)  # the system message is not stored
        question = recounted.pop(question.id, question)

    sent = history.messages[:sent_count]
    left_out = len(history.messages) - sent_count
    context = ContextReport(
        oldest_message_id=sent[-1].id if sent else question.id,
        message_count=sent_count + 1,
        prompt_tokens=tokens,
        counting=counting,
        prompt_limit=limit,
        reserved_tokens=reserved_tokens,
        left_out=left_out,
        left_out_reason="window" if left_out else None,
        missing_message_id=history.missing_message_id,
    )
    return Prompt(
        (*system, *reversed(sent), question), question, context, tuple(reversed(recounted.values()))
    )


def _too_long(
    tokens: int, limit: int, reserved_tokens: int, family: ModelFamily
) -> PromptTooLongError:
    error = PromptTooLongError(
        f"The system message and the new message take {tokens} tokens; the prompt may take at most "
        f"{limit}: the model's {family.max_input} tokens"
        + (
            f", less {reserved_tokens} that are reserved for the reply."
            if family.shares_window
            else "."
        )
    )
    error.tokens, error.limit = tokens, limit
    return error


def chat_messages(messages: Sequence[ChatMessage]) -> list[ChatCompletionRequestMessage]:
    """The messages of a chat completion, as they travel."""
    travelling: list[ChatCompletionRequestMessage] = []
    for message in messages:
        # A store may hold text that cannot be sent as UTF-8.
        sent: ChatCompletionRequestMessage = {
            "role": message.role,
            "content": lenient(message.text),
        }
        if message.name is not None:
            sent["name"] = lenient(message.name)
        travelling.append(sent)
    return travelling
