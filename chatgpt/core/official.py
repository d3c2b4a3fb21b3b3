"""The official flow: chat completions, on OpenAI and on every server that speaks the same.

`send_message` is the whole of it, from top to bottom: read the thread, choose what fits, send,
read the reply, give it an id of its own, save question and answer together.

Rules:

1. Nothing is sent before everything was checked, and nothing is stored before the reply is
   complete. A failed send leaves the store as it was.
2. A reply keeps the server's id, unless that is stored already: some servers repeat theirs.
3. Usage is asked for in streams. No sampling parameter is sent that the caller did not give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

from chatgpt.core.budget import TOKENS_PER_MESSAGE, Counter, prompt_cost
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage, Usage
from chatgpt.core.needs import (
    Exchange,
    HttpRequest,
    LoadMessage,
    LoadTokenizer,
    SaveMessages,
    Surroundings,
)
from chatgpt.core.options import CallOptions, ClientSettings
from chatgpt.core.prompts import Prompt, build_prompt, chat_messages, default_system_message
from chatgpt.core.reading import read_reply
from chatgpt.core.replies import Reply
from chatgpt.core.retry import RetryPolicy
from chatgpt.core.sending import json_request, send_with_retries
from chatgpt.core.threads import load_history
from chatgpt.core.validation import text_of
from chatgpt.core.wire.openai import CreateChatCompletionRequest


def send_message(
    options: CallOptions, settings: ClientSettings, surroundings: Surroundings
) -> Exchange[ChatMessage]:
    """Send a message as a reply to its parent, and return the answer.

    Args:
        options: the call's, checked.
        settings: the client's, checked.
        surroundings: clock, ids and the like.

    Raises:
        MessageNotFoundError, PromptTooLongError, ValueError: before anything is sent.
        ChatGPTError: whatever went wrong; errors.py draws the tree.
    """
    limits = Limits(
        surroundings.clock,
        total=options.timeout,
        idle=settings.idle_timeout if options.is_streamed else inf,
        connect=settings.connect_timeout,
    )
    redact = settings.redactor()
    prompt = yield from _prepare(options, settings, surroundings)
    head = yield from send_with_retries(
        _request(prompt, options, settings),
        limits=limits,
        policy=RetryPolicy(settings.max_retries),
        surroundings=surroundings,
        redact=redact,
    )
    reply = Reply(
        prompt.question, model=options.model, fallback_id=surroundings.new_id(), redact=redact
    )
    yield from read_reply(reply, head, limits, redact, is_reported=options.is_reported)
    is_taken = reply.id == prompt.question.id or (yield from LoadMessage(reply.id)) is not None
    load_counter = yield from _counter_loader(reply, options, settings, surroundings)
    message = reply.message(
        message_id=surroundings.new_id() if is_taken else reply.id,
        request_id=head.headers.get("x-request-id"),
        context=prompt.context,
        estimate=partial(_estimated_usage, prompt, load_counter),
        now=surroundings.now(),
    )
    # An estimate holds on to the prompt; a store must not keep whole threads alive by it.
    yield from SaveMessages((*prompt.recounted, prompt.question, message.without_estimate()))
    return message


def _prepare(
    options: CallOptions, settings: ClientSettings, surroundings: Surroundings
) -> Exchange[Prompt]:
    """Read the thread and choose what is sent."""
    if options.message_id is not None and (yield from LoadMessage(options.message_id)) is not None:
        raise ValueError(
            f"message_id {options.message_id!r} is stored already; nothing is overwritten."
        )
    limit = options.family.prompt_limit(options.reserved_tokens)
    # No more is read than could fit, and one message to see that there is more.
    most = None if limit is None else limit // TOKENS_PER_MESSAGE + 1
    history = yield from load_history(options.parent_message_id, most)
    now = surroundings.now()
    question = ChatMessage(
        id=options.message_id or surroundings.new_id(),
        text=options.text,
        role="user",
        name=options.name,
        parent_message_id=options.parent_message_id,
        conversation_id=options.conversation_id or history.conversation_id or surroundings.new_id(),
        created_at=now,
    )
    system_message = options.system_message
    return (
        yield from build_prompt(
            question,
            history,
            system_message=default_system_message(now)
            if system_message is None
            else system_message,
            family=options.family,
            reserved_tokens=options.reserved_tokens,
            tokenizer=settings.tokenizer,
        )
    )


def _request(prompt: Prompt, options: CallOptions, settings: ClientSettings) -> HttpRequest:
    own: CreateChatCompletionRequest = {
        "model": options.model,
        "messages": chat_messages(prompt.messages),
        "stream": options.is_streamed,
    }
    body: dict[str, object] = {**options.params, **own}
    headers = settings.request_headers()
    if options.is_streamed:
        body.setdefault("stream_options", {"include_usage": True})
        # Compression would hold parts back until a block of it is full.
        headers.setdefault("accept-encoding", "identity")
    else:
        body.pop("stream_options", None)
    return json_request("POST", settings.chat_url, headers, body)


def _counter_loader(
    reply: Reply, options: CallOptions, settings: ClientSettings, surroundings: Surroundings
) -> Exchange[Callable[[], Counter]]:
    """What counts the usage that the server did not tell, when somebody reads it.

    Loading a vocabulary takes a moment: where it must not block, it is loaded now.
    """
    tokenizer, encoding = settings.tokenizer, options.family.encoding
    if tokenizer is not None:
        return lambda: Counter(tokenizer, None)
    if reply.usage is None and not surroundings.may_block:
        count = yield from LoadTokenizer(encoding)
        return lambda: Counter(count, encoding)
    return lambda: Counter(surroundings.load_tokenizer(encoding), encoding)


def _estimated_usage(prompt: Prompt, load_counter: Callable[[], Counter], text: str) -> Usage:
    """Count what the server did not count; called when somebody reads it."""
    counter = load_counter()
    prompt_tokens = prompt.context.prompt_tokens
    if prompt.context.counting == "bound":
        prompt_tokens = prompt_cost(prompt.messages, counter)
    completion_tokens = counter.count_text(text)
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        estimated=True,
    )


def read_thread(message_id: object) -> Exchange[Sequence[ChatMessage]]:
    """Read a thread up to one of its messages, oldest first.

    Raises:
        MessageNotFoundError: the store does not hold it.
    """
    history = yield from load_history(text_of("message_id", message_id))
    return history.messages[::-1]
