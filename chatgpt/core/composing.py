"""A request for a draft: what the model takes of what was asked for, and what of the thread fits.

Rules:

1. No sampling parameter is sent that the caller did not give, and none that the model is known to refuse.
2. Usage is asked for in streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Unpack

from attrs import evolve, field, frozen

from chatgpt.core.call_options import CallOptions
from chatgpt.core.drafts import Draft
from chatgpt.core.fitting import Budget, Prompt, build_prompt
from chatgpt.core.lessons import Learned, Lesson, Lessons, adapt
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage, RequestChange
from chatgpt.core.needs import Exchange, Surroundings
from chatgpt.core.options import ClientSettings
from chatgpt.core.prompts import (
    TOKENS_PER_MESSAGE,
    ChatFormat,
    PromptFormat,
    TextFormat,
    default_system_message,
    text_prefix,
    text_suffix,
)


@frozen
class OfficialCall:
    """One call of a client.

    Attributes:
        options: the call's, checked.
        settings: the client's, checked.
        surroundings: clock, ids and the like.
        lessons: what the client has learned of its server.
        counted: messages that were counted and whose counts are still to be saved, by their ids. It is the
            client's: what a failed call or a preview has counted is saved with the next reply.
        claimed: the ids of messages that calls of the client are about to store, each with its call.
        account_id: the account of a pool that answers.
    """

    options: CallOptions
    settings: ClientSettings
    surroundings: Surroundings
    lessons: Lessons
    counted: dict[str, ChatMessage]
    claimed: dict[str, object]
    account_id: str | None = None

    @property
    def lesson(self) -> Lesson:
        """What is known of the model that is asked."""
        return self.lessons.of(self.options.endpoint, self.options.model)

    def learn(self, **learned: Unpack[Learned]) -> None:
        """Keep what was learned of the model that is asked."""
        self.lessons.keep(self.options.endpoint, self.options.model, **learned)

    @property
    def budget(self) -> Budget:
        """What a prompt may cost, by what is known now."""
        lesson, options = self.lesson, self.options
        family = lesson.narrowed(options.family)
        reserved = family.reserve(options.response_limit)
        is_limited = options.response_limit is not None or options.endpoint == "completions"
        return Budget(
            family,
            reserved,
            self.settings.tokenizer,
            lesson.calibration,
            known=options.family,
            sent_limit=reserved if is_limited else 0,
            max_total=lesson.guess.tokens,
        )

    @property
    def most_messages(self) -> int | None:
        """How many messages could fit at most, and one more to see that there are more."""
        room = self.budget.room(self.lesson.calibration)
        return None if room == inf else max(int(room), 0) // TOKENS_PER_MESSAGE + 1

    def claim(self, message_id: str) -> bool:
        """Claim the id of a message that is to be stored; whether no other call of the client has it."""
        return self.claimed.setdefault(message_id, self) is self

    def give_up(self, message_id: str) -> None:
        """Give up an id, if it is this call that has claimed it."""
        if self.claimed.get(message_id) is self:
            del self.claimed[message_id]

    def limits(self) -> Limits:
        """The deadlines of the call, which begins now."""
        return Limits(
            self.surroundings.clock,
            total=self.options.timeout,
            idle=self.settings.idle_timeout if self.options.is_streamed else inf,
            connect=self.settings.connect_timeout,
        )


@frozen
class Attempt:
    """A request that is sent, or would be.

    Attributes:
        prompt: what of the thread it holds.
        prompt_format: how.
        lesson: what was known when it was made.
        body: its JSON.
        max_total: what prompt and limit of the reply could take together, in tokens, where that is tried.
    """

    prompt: Prompt
    prompt_format: PromptFormat
    lesson: Lesson
    body: Mapping[str, object] = field(repr=False)
    max_total: int | None = None


def compose(
    draft: Draft, call: OfficialCall, *, is_counted: bool = False, max_total: int | None = None
) -> Exchange[Attempt]:
    """Make the request, by all that is known now.

    Args:
        draft: what is to be answered.
        call: the options and all that is needed.
        is_counted: whether the figures matter even where everything fits.
        max_total: what prompt and limit of the reply may take together, in tokens, in place of what is guessed
            of that.
    """
    options, lesson = call.options, call.lesson
    budget = call.budget if max_total is None else evolve(call.budget, max_total=max_total)
    params = dict(options.params)
    if options.endpoint == "completions":
        if ends := _ends(options):
            params.setdefault("stop", ends)
        # Without a limit, text completions end after 16 tokens (OpenAI) or never (llama.cpp).
        params.setdefault("max_tokens", budget.reserved_tokens)
    adapted = adapt(
        params,
        is_streamed=options.is_streamed,
        family=options.family,
        endpoint=options.endpoint,
        lesson=lesson,
    )
    prompt_format = _format(call, adapted.params, lesson)
    prompt = yield from build_prompt(
        draft.asked, draft.history, prompt_format, budget, call.counted, is_counted=is_counted
    )
    if prompt.calibration is not budget.calibration:
        call.learn(calibration=prompt.calibration)
    changes = adapted.changes
    if prompt.left_out and budget.limit != budget.most:
        changes += (RequestChange("messages", "shortened", is_learned=True),)
    body = {
        **adapted.params,
        "model": options.model,
        **prompt_format.fields(prompt.messages),
        "stream": adapted.is_streamed,
    }
    if changes:
        prompt = evolve(prompt, context=evolve(prompt.context, changes=changes))
    return Attempt(prompt, prompt_format, lesson, body, max_total)


def _ends(options: CallOptions) -> list[str]:
    """Where a text completion is to stop."""
    family = options.family
    return list(dict.fromkeys(filter(None, (family.message_end, family.instructions_end))))


def _format(call: OfficialCall, params: Mapping[str, object], lesson: Lesson) -> PromptFormat:
    options, settings, family = call.options, call.settings, call.options.family
    system_message = options.system_message
    if system_message is None:
        label = settings.assistant_label
        now = call.surroundings.now()
        system_message = (
            default_system_message(now, label)
            if options.endpoint == "completions"
            else default_system_message(now)
        )
    if options.endpoint == "chat":
        return ChatFormat(system_message, params, family.encoding, lesson.wants_reasoning)
    prefix, suffix = options.prompt_prefix, options.prompt_suffix
    if prefix is None:
        prefix = text_prefix(system_message, family.instructions_end)
    if suffix is None:
        suffix = text_suffix(settings.assistant_label)
    labels = settings.user_label, settings.assistant_label
    insertion = params.get("suffix")
    return TextFormat(
        prefix,
        suffix,
        *labels,
        family.message_end,
        insertion if isinstance(insertion, str) else "",
    )
