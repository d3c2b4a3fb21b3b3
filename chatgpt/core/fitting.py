"""What of a thread is sent, and the report of what was left out.

Strategy: the reply's room is reserved first; then come the instructions and the question, which
cannot be left out; then as many whole turns of history as fit, newest first, in one pass.

Rules:

1. Bounds come before counts: a prompt that is proven to fit loads no tokenizer (budget.py). The
   proof holds for the bundled encodings only; a caller's tokenizer is always asked.
2. A prompt never exceeds its limit. What cannot fit raises before anything is sent.
3. Where the server's own figures are known, of its window or of how it counts, they decide how much of
   the history is sent. A message that fits by what is known of the model is sent all the same, alone if
   need be: the server has the last word, and its answer corrects what was thought of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from math import inf

from attrs import Factory, field, frozen

from chatgpt.core.budget import Counter, byte_length
from chatgpt.core.calibration import NOT_CALIBRATED, Calibration
from chatgpt.core.errors import PromptTooLongError
from chatgpt.core.messages import ChatMessage, ContextReport, Counting
from chatgpt.core.models import ModelFamily
from chatgpt.core.needs import CountTokens, Exchange, LoadTokenizer
from chatgpt.core.prompts import PromptFormat, prompt_cost
from chatgpt.core.threads import History, fit_turns


@frozen
class Budget:
    """What a prompt may cost, and who counts.

    Attributes:
        family: the model's encoding, and its window by all that is known.
        reserved_tokens: what is kept free for the reply.
        tokenizer: the caller's own, or `None` for the family's encoding.
        calibration: what is known of how the server counts.
        known: the family by what is known of the model alone, without what its server once said.
        sent_limit: the limit of the reply that the request names, in tokens; 0 for none.
        max_total: what prompt and that limit may take together, in tokens as they are counted here, where that
            is guessed.
    """

    family: ModelFamily
    reserved_tokens: int
    tokenizer: CountTokens | None = None
    calibration: Calibration = NOT_CALIBRATED
    known: ModelFamily = field(default=Factory(lambda self: self.family, takes_self=True))
    sent_limit: int = 0
    max_total: int | None = None

    @property
    def limit(self) -> int | None:
        """The room for the prompt in tokens, or `None` where no window is known."""
        limit = self.family.prompt_limit(self.reserved_tokens)
        if self.max_total is None:
            return limit
        guessed = self.max_total - self.sent_limit
        return guessed if limit is None else min(limit, guessed)

    def room(self, calibration: Calibration) -> float:
        """The largest count of a prompt that the server takes, as far as is known; `math.inf` for any."""
        limit = self.family.prompt_limit(self.reserved_tokens)
        room = inf if limit is None else calibration.room(limit)
        # A guess is no matter of how the server counts: half of a count must be less, whatever is thought of that.
        return room if self.max_total is None else min(room, self.max_total - self.sent_limit)

    @property
    def most(self) -> int | None:
        """The tokens beyond which nothing is sent; what was only learned does not forbid it."""
        return self.known.prompt_limit(self.reserved_tokens)

    @property
    def encoding(self) -> str | None:
        """Under which name counts are kept; those of the caller's tokenizer are not."""
        return self.family.encoding if self.tokenizer is None else None

    @property
    def counting(self) -> Counting:
        """How a count comes about that is not calibrated."""
        if self.tokenizer is not None:
            return "custom"
        return "approximate" if self.family.is_approximate else "exact"


@frozen
class Prompt:
    """What is sent for a reply.

    Attributes:
        messages: in the order of the conversation, the instructions first.
        left_out: the messages that do not fit, oldest first.
        context: the report for the caller.
        cost: what it was counted to cost, or bounded, before any correction.
        is_counted: whether it was counted.
        calibration: how the server counts, by what is known now.
    """

    messages: Sequence[ChatMessage] = field(repr=False)
    left_out: Sequence[ChatMessage] = field(repr=False)
    context: ContextReport
    cost: int
    is_counted: bool
    calibration: Calibration


def load_counter(budget: Budget, counted: dict[str, ChatMessage]) -> Exchange[Counter]:
    """Load what counts.

    Args:
        budget: says who counts.
        counted: where messages go that are counted for the first time.
    """
    count = budget.tokenizer or (yield from LoadTokenizer(budget.family.encoding))
    return Counter(count, budget.encoding, counted)


def build_prompt(
    asked: Sequence[ChatMessage],
    history: History,
    prompt_format: PromptFormat,
    budget: Budget,
    counted: dict[str, ChatMessage],
    *,
    is_counted: bool = False,
) -> Exchange[Prompt]:
    """Choose what is sent.

    Args:
        asked: the messages that are to be answered, the question last: none of them is left out.
        history: the thread that they reply to.
        prompt_format: what the prompt adds to the messages.
        budget: what it may cost.
        counted: where messages go that are counted for the first time.
        is_counted: whether the figures matter even where everything fits.

    Raises:
        PromptTooLongError: instructions and what is asked exceed the limit by themselves.
    """
    calibration = budget.calibration
    fixed = [*prompt_format.instructions, *asked]
    sent_count = len(history.messages)
    counting: Counting = "bound"
    room = budget.room(calibration)
    bound: int | None = None
    if not is_counted and budget.tokenizer is None:
        counter = Counter(byte_length, budget.encoding)
        bound = _bound(fixed, history, prompt_format, counter, room - calibration.excess)
    if bound is not None:
        cost, tokens = bound, calibration.corrected(bound) + calibration.excess
    else:
        counter = yield from load_counter(budget, counted)
        calibration = calibration.compared_by(counter)
        room = budget.room(calibration)
        counting = budget.counting if calibration.counted is None else "calibrated"
        cost = prompt_cost(fixed, prompt_format, counter)
        if budget.most is not None and cost > budget.most:
            raise _too_long(cost, budget)
        sent_count, history_cost = fit_turns(
            history.messages,
            map(prompt_format.cost, history.messages, repeat(counter)),
            room - cost,
        )
        cost += history_cost
        tokens = calibration.corrected(cost)
    sent, left_out = history.messages[:sent_count], history.messages[sent_count:]
    messages = (*prompt_format.instructions, *reversed(sent), *asked)
    if counting == "exact" and not prompt_format.is_exact(messages):
        counting = "approximate"
    context = ContextReport(
        oldest_message_id=sent[-1].id if sent else asked[0].id,
        message_count=sent_count + sum(1 for message in asked if message.id),
        prompt_tokens=tokens,
        counting=counting,
        prompt_limit=budget.limit,
        reserved_tokens=budget.reserved_tokens,
        left_out=len(left_out),
        left_out_reason="window" if left_out else None,
        missing_message_id=history.missing_message_id,
        unreadable_message_ids=history.unreadable_message_ids,
    )
    return Prompt(messages, left_out[::-1], context, cost, bound is None, calibration)


def _bound(
    fixed: Sequence[ChatMessage],
    history: History,
    prompt_format: PromptFormat,
    counter: Counter,
    room: float,
) -> int | None:
    """An upper bound of the whole; `None` where it proves nothing."""
    if prompt_format.is_guessed((*fixed, *history.messages)):
        return None
    bound = prompt_cost(fixed, prompt_format, counter)
    for message in history.messages:
        if bound > room:
            break
        bound += prompt_format.cost(message, counter)
    return bound if bound <= room else None


def _too_long(tokens: int, budget: Budget) -> PromptTooLongError:
    limit, family = budget.most, budget.known
    error = PromptTooLongError(
        f"The system message and the new message take {tokens} tokens; the prompt may take at most "
        f"{limit}: the model's {family.max_input} tokens"
        + (
            f", less {budget.reserved_tokens} that are reserved for the reply."
            if family.shares_window
            else "."
        )
    )
    error.tokens, error.limit = tokens, limit
    return error
