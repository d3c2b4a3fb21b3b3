"""What is sent costs so many tokens: counted, or bounded without counting.

Strategy: a token stands for at least one byte of UTF-8, so the bytes of a text bound its tokens
from above: the same sum, with bytes in place of tokens, is a bound. While it proves that a prompt
fits, nothing is counted and no tokenizer is loaded. Once something has to be counted, a message is
counted once: its count stays with it.

Rules:

1. A message costs its text, role and name, and what of its wire fields is text: parts, tool calls.
   What a prompt adds to each message and to all of them is the business of its format (prompts.py).
2. A part that is no text (a picture, a sound, a file) costs `MEDIA_TOKENS`: its real cost is the
   server's secret, so such counts are approximate.
3. Tools cost what the OpenAI cookbook's notebook on counting tokens measured; schemas that it does
   not cover cost their JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import CountTokens
from chatgpt.core.surrogates import lenient

MEDIA_TOKENS: Final = 1_445
"""A picture of full size on gpt-4o, as OpenAI publishes it: 85, and 170 for each of at most 8 tiles."""

_REASONING: Final = "+reasoning"
_PLAIN: Final = "+plain"


def byte_length(text: str) -> int:
    """The bytes of a text in UTF-8: a bound of its tokens in every encoding that works on bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Counter:
    """Counts messages, each once, and keeps the counts with them.

    Args:
        count: the tokenizer; `byte_length` for a bound, of which nothing is kept.
        encoding: the encoding's name, under which counts are kept; `None` for a tokenizer of the
            caller, which is asked every time.
        counted: where messages go that got a count which they did not carry before, by their ids; one
            that is there already is not counted again. Those without an id are in no store.
    """

    def __init__(
        self,
        count: CountTokens,
        encoding: str | None,
        counted: dict[str, ChatMessage] | None = None,
    ) -> None:
        self._count = count
        self._is_bound = count is byte_length
        self._encoding = encoding
        self._kept_as = encoding or ""  # a name that no encoding has finds nothing
        self._counted = {} if counted is None else counted
        self._frames: dict[str, int] = {}

    def message(self, message: ChatMessage) -> int:
        """The tokens of a message's text, role, name and wire fields."""
        tokens = message.token_counts.get(self._kept_as)
        if type(tokens) is not int or tokens < 0:
            tokens = self._kept(message, "", _texts)
        return tokens if message.wire_fields is None else tokens + _media_tokens(message)

    def plain(self, message: ChatMessage) -> int:
        """The tokens of a message's text, role and name, whatever its wire fields are."""
        return self._kept(message, _PLAIN if message.wire_fields else "", _plain_texts)

    def reasoning(self, message: ChatMessage) -> int:
        """The tokens of what was thought before a message."""
        return self._kept(message, _REASONING, _thoughts)

    def text(self, text: str) -> int:
        """How many tokens a text takes.

        Raises:
            TypeError: the caller's tokenizer returned no number of tokens.
        """
        tokens = self._count(text)
        if type(tokens) is not int or tokens < 0:
            raise TypeError(f"tokenizer must return a number of tokens, not {tokens!r:.40}.")
        return tokens

    def frame(self, text: str) -> int:
        """The same for what stands around messages, again and again."""
        tokens = self._frames.get(text)
        if tokens is None:
            tokens = self._frames[text] = self.text(text)
        return tokens

    def _kept(
        self, message: ChatMessage, what: str, texts: Callable[[ChatMessage], Iterable[str]]
    ) -> int:
        encoding = self._encoding
        if encoding is None:
            return sum(map(self.text, texts(message)))
        if not message.id:  # it is in no store
            return sum(map(self.frame, texts(message)))
        key = encoding + what
        known = self._counted.get(message.id)
        if known is not None and known == message:  # its counts are no part of what makes it equal
            message = known
        tokens = message.token_counts.get(key)
        if type(tokens) is int and tokens >= 0:
            return tokens
        if texts is _texts and message.wire_fields is None:  # as most are
            tokens = self.frame(lenient(message.role)) + self._count(lenient(message.text))
            tokens += self.frame(lenient(message.name)) if message.name is not None else 0
        else:
            tokens = sum(map(self._count, texts(message)))
        if not self._is_bound:
            counts = {**message.token_counts, key: tokens}
            self._counted[message.id] = message._with(token_counts=counts)  # noqa: SLF001 - one for each message of a thread
        return tokens


def _texts(message: ChatMessage) -> Iterable[str]:
    """The strings of a message that the API counts, as they are sent."""
    fields = message.wire_fields
    if fields is None:
        yield lenient(message.role)
        yield lenient(message.text)
        if message.name is not None:
            yield lenient(message.name)
        return
    sent = {"role": message.role, "name": message.name, "content": message.text, **fields}
    yield from _texts_of_content(sent.pop("content"))
    for value in sent.values():
        if value is not None:
            yield lenient(value if isinstance(value, str) else json_text(value))


def _texts_of_content(content: object) -> Iterable[str]:
    for part in content if isinstance(content, (list, tuple)) else (content,):
        if part is not None and not _is_media(part):
            text = part.get("text") if isinstance(part, Mapping) else part
            yield lenient(text if isinstance(text, str) else json_text(part))


def _plain_texts(message: ChatMessage) -> Iterable[str]:
    yield lenient(message.role)
    yield lenient(message.text)
    yield lenient(message.name or "")


def _thoughts(message: ChatMessage) -> Iterable[str]:
    yield lenient(message.reasoning or "")


def _is_media(part: object) -> bool:
    return isinstance(part, Mapping) and any(
        word in str(part.get("type")) for word in ("image", "audio", "video", "file")
    )


def _media_tokens(message: ChatMessage) -> int:
    fields = message.wire_fields
    content = fields.get("content") if fields is not None else None
    if not isinstance(content, (list, tuple)):
        return 0
    return MEDIA_TOKENS * sum(map(_is_media, content))


def has_media(message: ChatMessage) -> bool:
    """Whether a message holds a part whose cost can only be guessed."""
    return _media_tokens(message) > 0


def json_text(value: object) -> str:
    """A value as the text of its JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


# --- what a request costs besides its messages -----------------------------------------------

_FUNCTION_START: Final = {"cl100k_base": 10}
_NEWER_FUNCTION_START: Final = 7
_PROPERTIES_START: Final = 3
_PROPERTY: Final = 3
_ENUM_ITEM: Final = 3
_FUNCTIONS_END: Final = 12
_PARAMETERS_TEXTS: Final = frozenset({"type", "properties", "required"})
_SCHEMA_TEXTS: Final = frozenset({"type", "description", "enum"})


def params_cost(params: Mapping[str, object], encoding: str, counter: Counter) -> int:
    """What tools, functions and the schema of the answer cost, in tokens.

    Args:
        params: the request's parameters.
        encoding: of the model; gpt-3.5 and gpt-4 write functions otherwise than later ones.
        counter: counts.
    """
    functions = [*_functions(params.get("tools")), *_functions(params.get("functions"))]
    tokens = _FUNCTIONS_END if functions else 0
    start = _FUNCTION_START.get(encoding, _NEWER_FUNCTION_START)
    tokens += sum(start + _function_cost(function, counter) for function in functions)
    schema = params.get("response_format")
    if isinstance(schema, Mapping) and len(schema) > 1:
        tokens += counter.frame(json_text(schema))
    return tokens


def _functions(tools: object) -> Iterable[Mapping[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping):
            function = tool.get("function", tool)
            yield function if isinstance(function, Mapping) else tool


def _function_cost(function: Mapping[str, Any], counter: Counter) -> int:
    if "name" not in function:  # something else than a function
        return counter.frame(json_text(function))
    tokens = counter.frame(f"{function['name']}:{_described(function)}")
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping):
        return tokens
    properties = parameters.get("properties")
    if isinstance(properties, Mapping) and properties:
        tokens += _PROPERTIES_START
        tokens += sum(_property_cost(name, schema, counter) for name, schema in properties.items())
    rest = {key: value for key, value in parameters.items() if key not in _PARAMETERS_TEXTS}
    return tokens + (counter.frame(json_text(rest)) if rest else 0)


def _property_cost(name: str, schema: object, counter: Counter) -> int:
    if not isinstance(schema, Mapping):
        return _PROPERTY + counter.frame(f"{name}:{json_text(schema)}")
    items = schema.get("enum")
    tokens = _PROPERTY + counter.frame(f"{name}:{schema.get('type')}:{_described(schema)}")
    if isinstance(items, list) and items:
        tokens += -_PROPERTY + sum(_ENUM_ITEM + counter.frame(str(item)) for item in items)
    rest = {key: value for key, value in schema.items() if key not in _SCHEMA_TEXTS}
    return tokens + (counter.frame(json_text(rest)) if rest else 0)


def _described(thing: Mapping[str, Any]) -> str:
    return str(thing.get("description") or "").removesuffix(".")
