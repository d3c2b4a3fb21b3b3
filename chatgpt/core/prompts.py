"""How a prompt travels: as chat messages, or as one text with labels.

Strategy: a format knows what it adds to the messages, what that costs, and the fields of the request
that hold them. What is sent is chosen in fitting.py, with these costs.

Rules of the costs:

1. Chat (the OpenAI cookbook's notebook on counting tokens; it equals the API's own `prompt_tokens`
   for gpt-3.5, gpt-4 and gpt-4o): 3 tokens for each message, 1 more for a name, 3 that prime the
   reply.
2. Text: the labels and ends around each message count as ordinary text, and 1 token for the seam, as
   two texts may take more together than each alone. A model that knows `<|endoftext|>` as one token takes
   less.

The text of a prompt is that of npm `chatgpt` 4:

    Instructions:
    {system message}<|endoftext|>

    User:

    {question}<|endoftext|>

    ChatGPT:
    {reply}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from attrs import field, frozen

from chatgpt.core.budget import Counter, has_media, params_cost
from chatgpt.core.messages import ChatMessage
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import lenient_json
from chatgpt.core.wire.openai import ChatCompletionRequestMessage

TOKENS_PER_MESSAGE: Final = 3
TOKENS_PER_NAME: Final = 1
TOKENS_PER_REPLY: Final = 3
TOKENS_PER_SEAM: Final = 1

DEFAULT_USER_LABEL: Final = "User"
DEFAULT_ASSISTANT_LABEL: Final = "ChatGPT"


def default_system_message(now: datetime, assistant_label: str = DEFAULT_ASSISTANT_LABEL) -> str:
    """The instructions that are sent when the caller gives none."""
    return (
        f"You are {assistant_label}, a large language model trained by OpenAI. "
        f"Answer as concisely as possible.\nCurrent date: {now.date().isoformat()}"
    )


class PromptFormat(ABC):
    """How messages become a prompt."""

    @property
    @abstractmethod
    def instructions(self) -> Sequence[ChatMessage]:
        """The messages that come before all others."""

    @abstractmethod
    def cost(self, message: ChatMessage, counter: Counter) -> int:
        """What a message costs, in tokens."""

    @abstractmethod
    def fixed_cost(self, counter: Counter) -> int:
        """What a prompt costs besides its messages, in tokens."""

    @abstractmethod
    def fields(self, messages: Sequence[ChatMessage]) -> dict[str, object]:
        """The fields of the request that hold the prompt.

        Args:
            messages: all of them, the instructions first, the question last.
        """

    def is_guessed(self, messages: Sequence[ChatMessage]) -> bool:
        """Whether the messages hold something whose cost is a guess, so that not even a bound is known."""
        return any(message.wire_fields is not None and has_media(message) for message in messages)

    @abstractmethod
    def is_exact(self, messages: Sequence[ChatMessage]) -> bool:
        """Whether their cost is known to the token, where the model's encoding is."""


def prompt_cost(
    messages: Sequence[ChatMessage], prompt_format: PromptFormat, counter: Counter
) -> int:
    """What a prompt of these messages costs, in tokens."""
    costs = (prompt_format.cost(message, counter) for message in messages)
    return prompt_format.fixed_cost(counter) + sum(costs)


@frozen
class ChatFormat(PromptFormat):
    """Messages.

    Attributes:
        system_message: the instructions; `""` for none.
        params: the request's other fields; tools are paid for.
        encoding: of the model.
        sends_reasoning: whether the server wants back what was thought before its replies
            (DeepSeek's `reasoning_content`).
    """

    system_message: str = field(default="", repr=False)
    params: Mapping[str, object] = field(factory=dict, repr=False)
    encoding: str = ""
    sends_reasoning: bool = False

    @property
    def instructions(self) -> Sequence[ChatMessage]:
        """The system message, if there is one."""
        if not self.system_message:
            return []
        return [ChatMessage(id="", text=self.system_message, role="system")]

    def cost(self, message: ChatMessage, counter: Counter) -> int:
        """What a message costs, in tokens."""
        tokens = TOKENS_PER_MESSAGE + counter.message(message)
        if message.name is not None:
            tokens += TOKENS_PER_NAME
        if self.sends_reasoning and message.role == "assistant":
            tokens += counter.reasoning(message)
        return tokens

    def fixed_cost(self, counter: Counter) -> int:
        """What primes the reply, and the tools."""
        return TOKENS_PER_REPLY + params_cost(self.params, self.encoding, counter)

    def is_exact(self, messages: Sequence[ChatMessage]) -> bool:
        """Of text and names it is; tools, schemas and further fields were measured in part."""
        return not self.params.keys() & {"tools", "functions", "response_format"} and all(
            message.wire_fields is None for message in messages
        )

    def fields(self, messages: Sequence[ChatMessage]) -> dict[str, object]:
        """The messages as they travel."""
        return {"messages": [self._travelling(message) for message in messages]}

    def _travelling(self, message: ChatMessage) -> ChatCompletionRequestMessage:
        # A store may hold text that cannot be sent as UTF-8.
        text = message.text
        sent: ChatCompletionRequestMessage = {
            "role": message.role,
            "content": text if text.isascii() else lenient(text),
        }
        if message.name is not None:
            sent["name"] = lenient(message.name)
        if self.sends_reasoning and message.role == "assistant":
            sent["reasoning_content"] = lenient(message.reasoning or "")
        if message.wire_fields is not None:
            own = lenient_json("wire_fields", message.wire_fields)
            sent = cast("ChatCompletionRequestMessage", {**sent, **own})
        return sent


@frozen
class TextFormat(PromptFormat):
    """One text, which the model goes on with.

    Attributes:
        prefix: what comes before the messages.
        suffix: what comes after them, and begins the reply.
        user_label: what stands before a message of the user that has no name.
        assistant_label: the same for a reply.
        message_end: what ends a message.
        insertion: what the request names as `suffix`: the text that follows the reply.
    """

    prefix: str = field(repr=False)
    suffix: str = field(repr=False)
    user_label: str
    assistant_label: str
    message_end: str
    insertion: str = field(default="", repr=False)

    @property
    def instructions(self) -> Sequence[ChatMessage]:
        """None: they are in the prefix."""
        return []

    def cost(self, message: ChatMessage, counter: Counter) -> int:
        """What a message costs, in tokens; its role is in its label, and counted all the same."""
        frame = counter.frame(self._beginning(message) + self._ending)
        return counter.plain(message) + frame + TOKENS_PER_SEAM

    def fixed_cost(self, counter: Counter) -> int:
        """Prefix and suffix, and what the caller wants to come after the reply."""
        texts = (self.prefix, self.suffix, self.insertion)
        return sum(counter.frame(text) + TOKENS_PER_SEAM for text in texts if text)

    def is_exact(self, messages: Sequence[ChatMessage]) -> bool:  # noqa: ARG002 - the other format looks at them
        """Never: seams, and ends that the model knows as one token, are counted for more than they take."""
        return False

    def fields(self, messages: Sequence[ChatMessage]) -> dict[str, object]:
        """The text."""
        *before, last = messages
        texts = [self._beginning(m) + lenient(m.text) + self._ending for m in before]
        text = lenient(last.text)
        if last.role != "assistant":
            texts += [self._beginning(last), text, self.message_end, self.suffix]
        elif self.suffix == text_suffix(self.assistant_label) or not before:
            # A reply that was cut is gone on with where it stopped.
            texts += [self._beginning(last), text]
        else:
            texts[-1] = texts[-1].removesuffix(self._ending) + self.message_end
            texts += [self.suffix, text]
        return {"prompt": "".join((self.prefix, *texts))}

    @property
    def _ending(self) -> str:
        return f"{self.message_end}\n\n"

    def _beginning(self, message: ChatMessage) -> str:
        labels = {"user": self.user_label, "assistant": self.assistant_label}
        label = message.name or labels.get(message.role, message.role.capitalize())
        return f"{lenient(label)}:\n\n"


def text_prefix(system_message: str, instructions_end: str) -> str:
    """The beginning of a prompt of text with these instructions; nothing without any."""
    return f"Instructions:\n{system_message}{instructions_end}\n\n" if system_message else ""


def text_suffix(assistant_label: str) -> str:
    """The end of a prompt of text: where the reply begins."""
    return f"\n\n{assistant_label}:\n"
