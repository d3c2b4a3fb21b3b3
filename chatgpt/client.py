"""`ChatGPTAPI`, the client of the official flow: options in, exchanges run, replies out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatgpt.base_client import BaseChatGPTAPI
from chatgpt.calling import Caller
from chatgpt.conversation import Conversation
from chatgpt.core import moderation, official
from chatgpt.core.call_options import AnswerOptions, question_of
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.messages import ChatMessage
from chatgpt.core.moderation import DEFAULT_MODERATION_MODEL, Moderation
from chatgpt.core.official import Preview
from chatgpt.core.validation import plain_function
from chatgpt.stores.choice import choose_store
from chatgpt.stores.functions import FunctionStore, GetMessageByIdFunction, UpsertMessageFunction
from chatgpt.stores.memory import MemoryStore
from chatgpt.stores.protocol import MessageStore, check_store
from chatgpt.streams import MessageStream
from chatgpt.transport import FetchFn, Transport


class ChatGPTAPI(
    Caller, BaseChatGPTAPI[MessageStore, GetMessageByIdFunction, UpsertMessageFunction, FetchFn]
):
    """A client for OpenAI's chat and text completions, and for every server that speaks the same protocol.

    It keeps the thread: give the id of the message that you reply to, and it finds the history,
    fits it into the model's window and sends it. One client may be used from many threads; it
    survives a fork, and pickles as its configuration, without secrets and messages.

    `ChatGPTAPI.__init__` describes the options. Here, `message_store` is a `MessageStore`,
    `get_message_by_id` and `upsert_message` are plain functions, and `session` is a
    `requests.Session`.
    """

    def _open(
        self,
        message_store: MessageStore | None,
        get_message_by_id: GetMessageByIdFunction | None,
        upsert_message: UpsertMessageFunction | None,
        session: FetchFn | None,
    ) -> None:
        self._store: MessageStore = choose_store(
            message_store,
            get_message_by_id,
            upsert_message,
            default=MemoryStore,
            checked=check_store,
            combined=FunctionStore,
        )
        self._transport = Transport(session, self._settings.proxy)

    def send_message(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        stream: bool | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> ChatMessage:
        """Send a message and return the reply, once it is complete.

        Question and reply are stored together; a failed send stores nothing.

        Args:
            text: the message.
            parent_message_id: the id of the message that this one replies to; `None` begins a new
                conversation. Replying twice to the same message makes a branch.
            conversation_id: a label of the conversation; by default the parent's, or a new one. It
                brings no history: that follows `parent_message_id`.
            message_id: the id of the new message; by default a new uuid4.
            name: the speaker's name, for conversations of several people; by default none.
            stream: whether the answer is asked for as a stream; by default only if `on_progress`
                is given.
            system_message: the instructions for this reply; `None` for the client's, `""` for none.
            prompt_prefix: for text completions: the beginning of the prompt, in the place of the
                instructions; `""` for none, and by default the instructions.
            prompt_suffix: for text completions: the end of the prompt, where the reply begins; `""` for
                none, and by default the label of the assistant.
            completion_params: further fields of this request, over the client's; a field that is
                `None` is left out.
            timeout: seconds for this call; by default the client's.
            abort: a token that stops the call: `token.cancel()`, from any thread and at any time; by default none.
            on_progress: called with each part of the reply: a `ChatMessage` with the `text` so far and
                what is new in `delta`. What it raises ends the call. Like npm `chatgpt`'s it is not called
                with `stream=False`. By default nothing is called.

        Raises:
            MessageNotFoundError: `parent_message_id` is not in the store.
            PromptTooLongError: the message cannot fit into the model's window.
            TypeError, ValueError: an option is wrong. Nothing was sent.
            APITimeoutError: a limit passed; `limit` says which.
            AbortedError: `abort` was cancelled.
            ChatGPTError: whatever else went wrong; `partial` holds the text that came.
        """
        exchange = self._sending(
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            stream=stream,
            system_message=system_message,
            prompt_prefix=prompt_prefix,
            prompt_suffix=prompt_suffix,
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            on_progress=plain_function("on_progress", on_progress),
        )
        return self._call(exchange).run(on_progress)

    def stream_message(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
    ) -> MessageStream:
        """Send a message and return its reply as a stream of parts.

        The message is sent when the stream is entered: `with client.stream_message(...) as stream`.
        The options and the errors are those of `send_message`; wrong options raise at once.
        """
        exchange = self._sending(
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            system_message=system_message,
            prompt_prefix=prompt_prefix,
            prompt_suffix=prompt_suffix,
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            is_iterated=True,
        )
        return self._stream(exchange)

    def conversation(
        self,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
    ) -> Conversation:
        """Return a chat that keeps the ids: `chat.send("Hi"); chat.send("And again?")`.

        Args:
            parent_message_id: the message to reply to first; `None` begins a new conversation.
            conversation_id: a label of the conversation; by default the parent's, or a new one.
            system_message: the instructions of all its replies; `None` for the client's, `""` for none.
            prompt_prefix: for text completions, as in `send_message`; by default the instructions.
            prompt_suffix: for text completions, as in `send_message`; by default the assistant's label.
            completion_params: further fields of all its requests, over the client's; by default none.

        Raises:
            TypeError, ValueError: an option is wrong.
        """
        options: AnswerOptions = {
            "system_message": system_message,
            "prompt_prefix": prompt_prefix,
            "prompt_suffix": prompt_suffix,
            "completion_params": completion_params,
        }
        return Conversation(self, options, conversation_id, parent_message_id)

    def preview(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        name: str | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
    ) -> Preview:
        """Say what `send_message` would send with these options, and send nothing.

        Everything is counted, which may load a vocabulary. Nothing is stored, either; the counts are, with
        the next reply. The options are those of `send_message`.

        Returns:
            The messages in their order, those that would be left out, the tokens, and the body of the
            request.

        Raises:
            MessageNotFoundError: `parent_message_id` is not in the store.
            PromptTooLongError: the message cannot fit into the model's window.
            TypeError, ValueError: an option is wrong.
        """
        question = question_of(text, parent_message_id=parent_message_id, name=name)
        call = self._official_call(
            system_message=system_message,
            prompt_prefix=prompt_prefix,
            prompt_suffix=prompt_suffix,
            completion_params=completion_params,
        )
        return self._call(official.preview(question, call)).run()

    def send_moderation(self, text: str, *, model: str = DEFAULT_MODERATION_MODEL) -> Moderation:
        """Ask whether a text is against the rules (`POST /moderations`).

        Args:
            text: the text.
            model: the model that is asked.

        Raises:
            TypeError, ValueError: an option is wrong; nothing was sent.
            ChatGPTError: whatever else went wrong.
        """
        return self._call(
            moderation.send_moderation(text, model, self._settings, self._surroundings)
        ).run()

    def thread(self, message_id: str) -> list[ChatMessage]:
        """Return the thread that leads to a message, oldest first, the message itself last.

        That of an imported conversation has hidden messages, too (`ChatMessage.is_hidden`).

        Args:
            message_id: the id of a stored message.

        Raises:
            MessageNotFoundError: it is not in the store.
        """
        return list(self._call(official.read_thread(message_id)).run())

    def branches(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to a message, oldest first: with each a branch begins.

        Args:
            message_id: the id of a stored message.

        Raises:
            MessageNotFoundError: it is not in the store.
            ConfigurationError: the store cannot find replies (`MessageStore.replies`).
        """
        return list(self._call(official.read_branches(message_id)).run())
