"""Events in, the reply out.

Strategy: every field of every object is optional; what is there is taken. One class reads whole
completions, chunks of a stream and text completions alike, because servers mix them up.

Rules:

1. A reply is complete with a `finish_reason`, with `[DONE]`, or as one whole document. Nothing is
   read after `[DONE]`.
2. The text is the text: chat replies are not trimmed, pairs of surrogates that were cut between
   two deltas are joined.
3. An error in any of its shapes ends the reply with a typed error that carries the text so far.
4. Usage may come in any object, in a choice (Moonshot) or beside the chunks (`x_groq`), under the names
   of either of OpenAI's interfaces; the last one counts. Figures that are all zero are none.
5. The id is the last one that is not empty (Azure's first chunks have none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from chatgpt.core.error_bodies import is_error, not_understood, stream_error
from chatgpt.core.messages import ChatMessage, ContextReport, TextBuffer, Usage
from chatgpt.core.reading import GrowingReply
from chatgpt.core.secrets import Redactor, masked_values
from chatgpt.core.sse import Event
from chatgpt.core.surrogates import DeltaJoiner, lenient

MOST_TOKENS: Final = 10**9
"""A figure beyond it is nonsense."""
DEEPEST_THOUGHT: Final = 8


class Reply(GrowingReply):
    """A reply on its way.

    Args:
        parent_message_id, conversation_id: its place in the thread.
        model: the model that was asked, until the server names its own.
        fallback_id: the id of a reply to which the server gives none.
        begun: the cut reply that is gone on with.
        redact: masks the secrets of the call.
        account_id: the account of a pool that answers.
    """

    def __init__(
        self,
        *,
        parent_message_id: str | None,
        conversation_id: str | None,
        model: str,
        fallback_id: str,
        begun: ChatMessage | None = None,
        redact: Redactor,
        account_id: str | None = None,
    ) -> None:
        super().__init__(redact)
        self._account_id = account_id
        self._parent_message_id = parent_message_id
        self._conversation_id = conversation_id
        self._model = model
        self._id = fallback_id
        self._told_names: tuple[object, object] = (None, None)
        self._latest_part: ChatMessage | None = None
        self._text = TextBuffer()
        self._reasoning = TextBuffer()
        self._has_reasoning = False
        self._joiner = DeltaJoiner()
        self._thought_joiner = DeltaJoiner()
        self._detail: dict[str, object] | None = None
        self._detail_data = ""
        self._finish_reason: str | None = None
        self.usage: Usage | None = None
        self._begun = begun
        if begun is not None:
            self._text.append(begun.text)
            if begun.reasoning is not None:
                self._reasoning.append(begun.reasoning)
                self._has_reasoning = True

    @property
    def id(self) -> str:
        """The server's id of the reply, or the fallback."""
        return self._redact(self._id)

    @property
    def text(self) -> str:
        """The text so far."""
        return str(self._text)

    @property
    def is_complete(self) -> bool:
        """Whether the server has said everything that belongs to the reply."""
        return self._is_done or self._finish_reason is not None

    def message(
        self,
        *,
        message_id: str,
        request_id: str | None,
        context: ContextReport,
        estimate: Callable[[str, str | None], Usage],
        now: datetime,
        is_stripped: bool = False,
    ) -> ChatMessage:
        """The finished reply.

        Args:
            message_id: its id in the store.
            request_id: the server's `x-request-id`.
            context: what was sent for it.
            estimate: counts what came of its text and of its reasoning, where the server sent no figures;
                called when somebody reads them.
            now: the date and time.
            is_stripped: whether white space around the text is no part of it.
        """
        redact = self._redact
        text, reasoning = self.text, str(self._reasoning) if self._has_reasoning else None
        told, thought = text, reasoning
        if self._begun is not None:  # of what was there before, this request says nothing
            told = told.removeprefix(self._begun.text)
            thought = (thought or "").removeprefix(self._begun.reasoning or "") or None
        return ChatMessage(
            id=message_id,
            text=text.strip() if is_stripped else text,
            role="assistant",
            parent_message_id=self._parent_message_id,
            conversation_id=self._conversation_id,
            detail=self._masked_detail(),
            model=redact(self._model),
            usage=self.usage or (lambda: estimate(told, thought)),
            finish_reason=redact(self._finish_reason) if self._finish_reason else None,
            reasoning=reasoning,
            context=context,
            created_at=now,
            request_id=redact(request_id) if request_id else None,
            account_id=self._account_id,
        )

    def _masked_detail(self) -> Any:
        """What is stored of the answer: a server may repeat a key beside the reply."""
        is_clean = self._redact(self._detail_data) == self._detail_data
        return self._detail if is_clean else masked_values(self._detail, self._redact)

    def _take_json(self, answer: object, event: Event) -> ChatMessage | None:
        name, data, kind = event
        if (
            type(answer) is dict
            and "choices" in answer
            and "error" not in answer
            and name != "error"
        ):
            return self._take_object(answer, event)
        is_whole = kind == "document"
        if name == "error" or is_error(answer, is_whole=is_whole):
            if self.is_complete:
                return None  # nothing of the reply is missing
            raise stream_error(data, self._redact, partial=self.text)
        if isinstance(answer, dict):
            return self._take_object(answer, event)
        if is_whole:
            raise not_understood(data, self._redact, "The answer holds no reply")
        return None  # a keep-alive or a mark that says nothing: `"v1"`, `null`, `[]`

    def _last_part(self) -> ChatMessage | None:
        rest = self._joiner.end()
        return self._part(rest, "") if rest else None

    def _take_object(self, answer: dict[str, Any], event: Event) -> ChatMessage | None:
        _, data, kind = event
        is_whole = kind == "document"
        names = answer.get("id"), answer.get("model")
        if names != self._told_names:
            self._take_names(*names)
            self._told_names = names
        if (usage := answer.get("usage")) is not None:
            self._take_usage(usage)
        if isinstance(groq := answer.get("x_groq"), dict):
            self._take_usage(groq.get("usage"))
        choices = answer.get("choices")
        choice = choices[0] if type(choices) is list and choices else None
        if type(choice) is not dict or choice.get("index") != 0:  # it is in almost every object
            choice = _first_choice(choices, is_whole=is_whole)
        if choice is None:
            if is_whole:
                raise not_understood(data, self._redact, "The answer holds no reply")
            return None
        if "usage" in choice:
            self._take_usage(choice["usage"])
        self._detail, self._detail_data = answer, data
        finish_reason = choice.get("finish_reason")
        if finish_reason and isinstance(finish_reason, str):
            if finish_reason == "error":
                if self.is_complete:
                    return None  # nothing of the reply is missing
                raise stream_error(data, self._redact, partial=self.text)
            self._finish_reason = lenient(finish_reason)
        if is_whole:
            self._is_done = True
        source = choice.get("delta") or choice.get("message")
        if not isinstance(source, dict):
            source = {"content": choice.get("text")}
        content = source.get("content")
        if (
            len(source) == 1
            and type(content) is str
            and content.isascii()
            and not self._joiner.held
        ):
            return self._part(content, "") if content else None  # as most of them are
        reasoning = source.get("reasoning_content") or source.get("reasoning")
        if type(content) is list:
            content, part_reasoning = _joined_parts(content)
            reasoning = reasoning or part_reasoning
        content = content or source.get("refusal")
        delta = self._joiner.feed(content) if content and isinstance(content, str) else ""
        thought = (
            self._thought_joiner.feed(reasoning) if reasoning and isinstance(reasoning, str) else ""
        )
        return self._part(delta, thought) if delta or thought else None

    def _part(self, delta: str, thought: str) -> ChatMessage:
        text = self._text.append(delta)
        if thought:
            self._reasoning.append(thought)
            self._has_reasoning = True
        reasoning = self._reasoning.snapshot() if self._has_reasoning else None
        if self._latest_part is None:
            self._latest_part = ChatMessage(
                id=self._id,
                text=text,
                role="assistant",
                delta=delta,
                parent_message_id=self._parent_message_id,
                conversation_id=self._conversation_id,
                detail=self._detail,
                model=self._model,
                reasoning=reasoning,
                account_id=self._account_id,
            )
        else:
            self._latest_part = self._latest_part._following(  # noqa: SLF001 - a part is made for each event
                text, reasoning, delta, self._detail
            )
        return self._latest_part

    def _take_names(self, identifier: object, model: object) -> None:
        if isinstance(identifier, str) and identifier.strip():
            self._id = identifier if identifier.isascii() else lenient(identifier)
        if model and isinstance(model, str):
            self._model = model if model.isascii() else lenient(model)
        self._latest_part = None  # the next one is another's

    def _take_usage(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        prompt = _count(usage, "prompt_tokens", "input_tokens")
        completion = _count(usage, "completion_tokens", "output_tokens")
        total = _count(usage, "total_tokens")
        before = self.usage
        if not prompt and total and completion:
            prompt = max(total - completion, 0)
        if not prompt and not completion:
            return
        if (
            not prompt and before is not None
        ):  # some tell it once, and then what they have said since
            prompt = before.prompt_tokens
        prompt, completion = prompt or 0, completion or 0
        self.usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=total or prompt + completion,
            reasoning_tokens=_detail(
                usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
            ),
            cached_tokens=_detail(
                usage,
                ("prompt_tokens_details", "input_tokens_details"),
                "cached_tokens",
                "prompt_cache_hit_tokens",
            ),
        )


def _first_choice(choices: object, *, is_whole: bool) -> dict[str, Any] | None:
    """The choice with index 0, or without one: others (`n` > 1) are in `detail` only."""
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index") in (0, None, "0"):
            return choice
    if not is_whole:
        return None
    return next((choice for choice in choices if isinstance(choice, dict)), None)


def _joined_parts(parts: list[Any], depth: int = 0) -> tuple[str, str]:
    """Text and reasoning of a content that is a list of parts (Mistral's magistral).

    Thoughts within thoughts are looked for a few levels deep: a server may nest them for ever.
    """
    text, thought = "", ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            if isinstance(part.get("text"), str):
                text += part["text"]
            inner = part.get("thinking")
            thought += (
                _joined_parts(inner, depth + 1)[0]
                if isinstance(inner, list) and depth < DEEPEST_THOUGHT
                else inner
                if isinstance(inner, str)
                else ""
            )
    return text, thought


def _detail(usage: dict[str, Any], places: Sequence[str], *names: str) -> int | None:
    """A figure among the details, or beside them."""
    for place in (*map(usage.get, places), usage):
        if isinstance(place, dict):
            for name in names:
                figure = _figure(place, name)
                if figure is not None:
                    return figure
    return None


def _count(usage: dict[str, Any], *names: str) -> int | None:
    """The first figure of these names that is more than nothing, or nothing."""
    found = None
    for name in names:
        figure = _figure(usage, name)
        if figure:
            return figure
        found = figure if found is None else found
    return found


def _figure(figures: dict[str, Any], name: str) -> int | None:
    value = figures.get(name)
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS and value == int(value) else None
