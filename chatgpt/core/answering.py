"""Answering a draft: choose what fits, send, mend what is refused, read the reply, save.

`answer` is the whole of it, from top to bottom.

Rules:

1. Nothing is sent before everything was checked, and nothing is stored before the reply is
   complete. A failed send leaves the store as it was.
2. A reply keeps the server's id, unless that is stored already: some servers repeat theirs. The store has the
   last word on it, because other processes may use it at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from attrs import evolve

from chatgpt.core.budget import Counter
from chatgpt.core.calibration import ToldPrompt
from chatgpt.core.composing import Attempt, OfficialCall, compose
from chatgpt.core.drafts import Draft
from chatgpt.core.errors import APIStatusError, ContextLengthError
from chatgpt.core.fitting import load_counter
from chatgpt.core.lessons import Lesson, learned_from
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage, Usage
from chatgpt.core.needs import (
    Exchange,
    HttpRequest,
    LoadMessage,
    ResponseHead,
    SaveMessages,
    Surroundings,
    unsaved_error,
)
from chatgpt.core.prompts import prompt_cost
from chatgpt.core.reading import read_reply
from chatgpt.core.replies import Reply
from chatgpt.core.retry import RetryPolicy
from chatgpt.core.secrets import SecretMask
from chatgpt.core.sending import json_request, obey, send_with_retries

MOST_RENAMINGS: Final = 3
"""How often messages get new ids before the store is not believed."""

MOST_COUNTED: Final = 100_000
"""Messages whose counts are kept until they can be saved; then they are counted again."""


def answer(
    drafting: Exchange[Draft], call: OfficialCall, message_id: str | None = None
) -> Exchange[ChatMessage]:
    """Send a draft, and return its answer, which is stored.

    Args:
        drafting: makes the draft.
        call: the options and all that is needed.
        message_id: the id of the question, where the caller gave it.

    Raises:
        ValueError: the id is stored already, or another call is about to store it.
    """
    limits = call.limits()
    claimed: list[str] = []  # noted before it is claimed: Ctrl-C may come in between
    try:
        if message_id is not None:
            claimed.append(message_id)
            if not call.claim(message_id):
                raise ValueError(f"message_id {message_id!r} is that of a message on its way.")
        yield from obey(call.options.abort, limits)
        draft = yield from drafting
        return (yield from _answer(draft, call, limits, claimed))
    finally:
        for own in claimed:
            call.give_up(own)


def _answer(
    draft: Draft, call: OfficialCall, limits: Limits, claimed: list[str]
) -> Exchange[ChatMessage]:
    options, surroundings = call.options, call.surroundings
    redact = call.settings.redactor()
    if len(call.counted) > MOST_COUNTED:
        call.counted.clear()
    reply = Reply(
        parent_message_id=draft.parent_message_id,
        conversation_id=draft.conversation_id,
        model=options.model,
        fallback_id=surroundings.new_id(),
        begun=draft.begun,
        redact=redact,
        account_id=call.account_id,
    )
    try:
        attempt, head = yield from _send(draft, call, limits, redact)
        yield from read_reply(reply, head, limits, redact, is_reported=options.is_reported)
    finally:
        question = draft.question
        if draft.is_new:  # it is saved as a whole, or not at all
            question = call.counted.pop(question.id, question)
    prompt = attempt.prompt
    if attempt.max_total is not None:  # so it was the length that had been refused
        call.learn(guess=attempt.lesson.guess.made(attempt.max_total))
    elif attempt.lesson.guess.tokens is not None:
        call.learn(guess=attempt.lesson.guess.after_reply())
    if reply.usage is not None:
        _learn_from_usage(call, attempt, reply.usage.prompt_tokens)
    claimed.append(reply.id)
    load = yield from _counter_loader(reply, call)
    message = reply.message(
        message_id=reply.id,
        request_id=head.headers.get("x-request-id"),
        context=prompt.context,
        estimate=partial(_estimated_usage, attempt, call.lesson, load),
        now=surroundings.now(),
        is_stripped=options.endpoint == "completions",
    )
    asked = (question,) if draft.is_new else ()
    is_free = reply.id != draft.question.id and call.claim(reply.id)
    unsaved = (*asked, message.without_estimate())
    if not is_free or (yield from LoadMessage(reply.id, unsaved)) is not None:
        message = message._with(id=surroundings.new_id())  # noqa: SLF001 - some servers repeat their ids
    recounted = _recounted_messages(draft, call.counted)
    message = yield from _saved(message, asked, recounted, surroundings)
    for saved in recounted:
        call.counted.pop(saved.id, None)
    return message


def _saved(
    reply: ChatMessage,
    asked: Sequence[ChatMessage],
    recounted: Sequence[ChatMessage],
    surroundings: Surroundings,
) -> Exchange[ChatMessage]:
    """Save a reply and its question, and return the reply as it is stored.

    Another client may have stored other messages under their ids a moment ago: then they get new ones. A
    message of the history that is another one by now keeps its counts to itself.
    """
    for _ in range(MOST_RENAMINGS):
        # An estimate holds on to the prompt; a store must not keep whole threads alive by it.
        saving = SaveMessages((*recounted, *asked, reply.without_estimate()))
        taken = yield from saving
        if not taken:
            return reply
        recounted = [message for message in recounted if message.id not in taken]
        if any(message.id in taken for message in asked):
            (question,) = asked
            asked = [evolve(question, id=surroundings.new_id())]
            reply = _replying_to(asked[-1].id, reply)
        if reply.id in taken:
            reply = evolve(reply, id=surroundings.new_id())
    raise unsaved_error(saving.messages, "the store takes no id.")


def _replying_to(question_id: str, reply: ChatMessage) -> ChatMessage:
    """A reply whose question has another id."""
    context = reply.context
    if context is not None and context.oldest_message_id == reply.parent_message_id:
        context = evolve(context, oldest_message_id=question_id)
    return evolve(reply, parent_message_id=question_id, context=context)


def _send(
    draft: Draft,
    call: OfficialCall,
    limits: Limits,
    redact: SecretMask,
) -> Exchange[tuple[Attempt, ResponseHead]]:
    """Send until it is answered: what the model refuses is mended, each thing once."""
    refused: tuple[Attempt, APIStatusError] | None = None
    mended: dict[str, APIStatusError] = {}
    has_shrunk = False
    max_total: int | None = None
    while True:
        attempt = yield from compose(draft, call, is_counted=has_shrunk, max_total=max_total)
        if refused is not None and attempt.body == refused[0].body:
            raise refused[1]
        if not attempt.body["stream"]:
            limits.bear_silence()
        try:
            head = yield from send_with_retries(
                _request(attempt, call),
                limits=limits,
                policy=RetryPolicy(call.settings.max_retries),
                surroundings=call.surroundings,
                redact=redact,
            )
        except APIStatusError as error:
            refusal = error
        else:
            return attempt, head
        refused = attempt, refusal
        learned = learned_from(refusal, attempt.body, attempt.lesson)
        if isinstance(refusal, ContextLengthError):
            if has_shrunk and max_total is None:  # by the server's own figures
                raise refusal
            has_shrunk = True
            call.learn(**learned)
            max_total = yield from _learn_from_length(call, attempt, refusal)
            continue
        if not learned:
            raise refusal
        call.learn(**learned)
        for thing in learned.keys() - {"refused"}:  # of those there are only so many
            if thing in mended:  # neither one nor the other is taken
                raise mended[thing]
            mended[thing] = refusal


def _learn_from_length(
    call: OfficialCall, attempt: Attempt, refusal: ContextLengthError
) -> Exchange[int | None]:
    """Learn what can be from a prompt that is too long: it is counted, whatever it was before.

    Returns:
        What prompt and limit of the reply may take together, in tokens as they are counted here, where the
        server's figures do not say: as much as with half of the prompt. It is halved as often as it is refused.
    """
    counter = yield from load_counter(call.budget, call.counted)
    cost = prompt_cost(attempt.prompt.messages, attempt.prompt_format, counter)
    calibration = call.lesson.calibration.compared_by(counter)
    if refusal.tokens is not None:
        calibration = calibration.compared(cost, refusal.tokens, is_refused=True)
    call.learn(calibration=calibration)
    budget = call.budget
    return None if cost > budget.room(calibration) else cost // 2 + budget.sent_limit


def _learn_from_usage(call: OfficialCall, attempt: Attempt, told: int) -> None:
    """Compare, if the figure can be; what it tells beyond the window of the model is nonsense."""
    lesson, window = call.lesson, call.options.family.max_input
    if lesson.max_input is not None and told > lesson.max_input:
        call.learn(max_input=None)  # what the server took is no longer than its window
    if (window is None or told <= window) and not attempt.prompt_format.is_guessed(
        attempt.prompt.messages
    ):
        _compare(call, attempt, told)


def _compare(call: OfficialCall, attempt: Attempt, told: int) -> None:
    """Compare a figure with the count, or let it wait."""
    prompt, calibration = attempt.prompt, call.lesson.calibration
    if prompt.is_counted:
        calibration = calibration.compared(prompt.cost, told)
    else:
        bound = calibration.corrected(prompt.cost)
        waiting = ToldPrompt(prompt.messages, attempt.prompt_format, told, bound)
        calibration = calibration.awaiting(waiting)
    call.learn(calibration=calibration)


def _request(attempt: Attempt, call: OfficialCall) -> HttpRequest:
    headers = call.settings.request_headers()
    if attempt.body["stream"]:
        # Compression would hold parts back until a block of it is full.
        headers.setdefault("accept-encoding", "identity")
    url = call.settings.message_url(call.options.endpoint)
    return json_request("POST", url, headers, attempt.body)


def _recounted_messages(
    draft: Draft, counted: Mapping[str, ChatMessage]
) -> tuple[ChatMessage, ...]:
    """The messages of the history that were counted and are not saved with their counts, oldest first.

    Of others that were counted nothing is saved: they may be in the store no more, or otherwise.
    """
    if not counted:
        return ()
    stored = [*reversed(draft.history.messages), *(() if draft.is_new else draft.asked)]
    found = ((message, counted.get(message.id)) for message in stored)
    return tuple(known for message, known in found if known is not None and known == message)


# --- usage that the server does not tell -----------------------------------------------------


def _counter_loader(reply: Reply, call: OfficialCall) -> Exchange[Callable[[], Counter]]:
    """What counts the usage that the server did not tell, when somebody reads it.

    Loading a vocabulary takes a moment: where it must not block, it is loaded now.
    """
    surroundings, tokenizer = call.surroundings, call.settings.tokenizer
    encoding = call.options.family.encoding
    if tokenizer is not None:
        return lambda: Counter(tokenizer, None)
    if reply.usage is None and not surroundings.may_block:
        counter = yield from load_counter(call.budget, {})
        return lambda: counter
    return lambda: Counter(surroundings.load_tokenizer(encoding), encoding)


def _estimated_usage(
    attempt: Attempt,
    lesson: Lesson,
    load: Callable[[], Counter],
    text: str,
    reasoning: str | None,
) -> Usage:
    """Count what the server did not count; called when somebody reads it."""
    counter = load()
    prompt = attempt.prompt
    prompt_tokens = prompt.context.prompt_tokens
    if not prompt.is_counted:
        cost = prompt_cost(prompt.messages, attempt.prompt_format, counter)
        prompt_tokens = lesson.calibration.corrected(cost)
    reasoning_tokens = None if reasoning is None else counter.text(reasoning)
    completion_tokens = counter.text(text) + (reasoning_tokens or 0)
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        reasoning_tokens=reasoning_tokens,
        estimated=True,
    )
