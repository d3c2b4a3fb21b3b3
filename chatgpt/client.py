"""`ChatGPTAPI`, the client of the official flow: options in, exchanges run, replies out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from chatgpt.core import moderation, official
from chatgpt.core.messages import ChatMessage
from chatgpt.core.moderation import DEFAULT_MODERATION_MODEL, Moderation
from chatgpt.core.needs import CountTokens, Exchange
from chatgpt.core.options import (
    DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    CallOptions,
    ClientSettings,
    call_options,
    client_settings,
)
from chatgpt.core.secrets import (
    API_KEY_VARIABLE,
    API_ORG_VARIABLE,
    PROXY_VARIABLE,
    Secret,
    wrap,
    wrap_headers,
    wrap_url,
)
from chatgpt.environment import read_environment, recall_secrets
from chatgpt.logs import log_to_stderr
from chatgpt.stores.choice import store_of
from chatgpt.stores.functions import GetMessageByIdFunction, UpsertMessageFunction
from chatgpt.stores.protocol import MessageStore
from chatgpt.streams import MessageStream
from chatgpt.surroundings import SURROUNDINGS
from chatgpt.transport import Call, FetchFn, T, Transport


class ChatGPTAPI:
    """A client for OpenAI's chat completions, and for every server that speaks the same protocol.

    It keeps the thread: give the id of the message that you reply to, and it finds the history,
    fits it into the model's window and sends it. One client may be used from many threads; it
    survives a fork, and pickles as its configuration, without secrets and messages.

    Args:
        api_key: the key; by default `OPENAI_API_KEY` of the environment. A server on this machine
            needs none.
        api_org: the organization; by default `OPENAI_ORG_ID`, or `OPENAI_API_ORG`.
        api_project: the project; by default `OPENAI_PROJECT_ID`.
        api_base_url: where the API is; by default `OPENAI_BASE_URL`, or `OPENAI_API_BASE_URL`, or
            OpenAI's. A URL without a path gets `/v1`.
        api_reverse_proxy_url: the whole URL to which messages are posted, in place of
            `{api_base_url}/chat/completions`.
        model: the model; by default `OPENAI_MODEL`, or `"gpt-5.4-mini"`.
        completion_params: further fields of each request, such as `{"temperature": 0.2}`. None is
            sent that is not given here or in the call; `messages` and `stream` are the SDK's own.
        system_message: the instructions. `None` for the default ones, with today's date (UTC);
            `""` for none.
        max_model_tokens: the window for prompt and reply, in tokens; by default what is known of
            the model's family.
        max_response_tokens: the largest reply in tokens: it is reserved and sent as a limit. By
            default min(largest reply, 4096, window / 4) is reserved and no limit is sent.
        message_store: where messages are kept; by default the 10,000 used last, in memory.
        get_message_by_id: looks a message up, in place of the store's own way.
        upsert_message: saves a message, in place of the store's own way.
        tokenizer: counts the tokens of a text, in place of the model's encoding.
        timeout: seconds for a whole call: connecting, retries, sleeps and the last byte; by default
            600, `math.inf` for no limit.
        idle_timeout: seconds of silence that are borne in a stream, comments being silence; by
            default 120.
        connect_timeout: seconds for connecting; by default 10.
        max_retries: how often at most a request is repeated that was answered with 408, 409, 429 or
            5xx or found no server; by default 2. A quota that is used up and an answer that has
            begun are not.
        headers: further headers of each request; they win over the SDK's own. Those whose names look
            like credentials are treated as secrets; give `Secret(value, "VARIABLE")` to name the
            variable from which an unpickled client reads them.
        proxy: the URL of a proxy, `http`, `https` or `socks5`; by default the proxy variables of
            the environment.
        session: a `requests.Session` of your own, which stays yours to close.
        debug: whether the log of the SDK goes to standard error.

    Raises:
        ConfigurationError: an option is missing, malformed or contradicts another one.
        TypeError: an option has the wrong type.
    """

    def __init__(
        self,
        *,
        api_key: str | Secret | None = None,
        api_org: str | Secret | None = None,
        api_project: str | None = None,
        api_base_url: str | None = None,
        api_reverse_proxy_url: str | None = None,
        model: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        system_message: str | None = None,
        max_model_tokens: int | None = None,
        max_response_tokens: int | None = None,
        message_store: MessageStore | None = None,
        get_message_by_id: GetMessageByIdFunction | None = None,
        upsert_message: UpsertMessageFunction | None = None,
        tokenizer: CountTokens | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str | Secret] | None = None,
        proxy: str | Secret | None = None,
        session: FetchFn | None = None,
        debug: bool = False,
    ) -> None:
        # The bare secrets leave this frame first: a traceback may show its names.
        given: dict[str, Any] = {
            "api_key": wrap(api_key, API_KEY_VARIABLE),
            "api_org": wrap(api_org, API_ORG_VARIABLE),
            "headers": wrap_headers(headers),
            "proxy": wrap_url(proxy, PROXY_VARIABLE),
            "api_base_url": wrap_url(api_base_url),
            "api_reverse_proxy_url": wrap_url(api_reverse_proxy_url),
        }
        del api_key, api_org, headers, proxy, api_base_url, api_reverse_proxy_url
        given |= {
            "api_project": api_project,
            "model": model,
            "completion_params": completion_params,
            "system_message": system_message,
            "max_model_tokens": max_model_tokens,
            "max_response_tokens": max_response_tokens,
            "message_store": message_store,
            "get_message_by_id": get_message_by_id,
            "upsert_message": upsert_message,
            "tokenizer": tokenizer,
            "timeout": timeout,
            "idle_timeout": idle_timeout,
            "connect_timeout": connect_timeout,
            "max_retries": max_retries,
            "session": session,
            "debug": debug,
        }
        self._given = given
        self._settings = client_settings(given, read_environment())
        self._store = store_of(message_store, get_message_by_id, upsert_message)
        self._transport = Transport(session, self._settings.proxy)
        if debug:
            log_to_stderr()

    @property
    def api_key(self) -> Secret | None:
        """The key. It can be set at any time, and holds for the calls that begin afterwards."""
        return self._settings.api_key

    @api_key.setter
    def api_key(self, value: str | Secret | None) -> None:
        wrapped = wrap(value, API_KEY_VARIABLE)
        del value
        self._settings = self._settings.with_api_key(wrapped)
        self._given["api_key"] = wrapped

    @property
    def api_org(self) -> Secret | None:
        """The organization. It can be set at any time."""
        return self._settings.api_org

    @api_org.setter
    def api_org(self, value: str | Secret | None) -> None:
        wrapped = wrap(value, API_ORG_VARIABLE)
        del value
        self._settings = self._settings.with_api_org(wrapped)
        self._given["api_org"] = wrapped

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
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
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
            name: the speaker's name, for conversations of several people.
            stream: whether the answer is asked for as a stream; by default only if `on_progress`
                is given.
            system_message: the instructions for this reply; `None` for the client's, `""` for none.
            completion_params: further fields of this request, over the client's; a field that is
                `None` is left out.
            timeout: seconds for this call; by default the client's.
            on_progress: called with each part of a streamed reply: a `ChatMessage` with the `text`
                so far and what is new in `delta`. What it raises ends the call.

        Raises:
            MessageNotFoundError: `parent_message_id` is not in the store.
            PromptTooLongError: the message cannot fit into the model's window.
            TypeError, ValueError: an option is wrong. Nothing was sent.
            ChatGPTError: whatever else went wrong; `partial` holds the text that came.
        """
        options = call_options(
            self._settings,
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            stream=stream,
            system_message=system_message,
            completion_params=completion_params,
            timeout=timeout,
            on_progress=on_progress,
        )
        call = self._call(official.send_message(options, self._settings, SURROUNDINGS))
        try:
            while (part := call.advance()) is not None:
                if on_progress is not None:
                    on_progress(part)
        finally:
            call.close()
        return call.result

    def stream_message(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        system_message: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> MessageStream:
        """Send a message and return its reply as a stream of parts.

        The message is sent when the stream is entered: `with client.stream_message(...) as stream`.
        The options and the errors are those of `send_message`; wrong options raise at once.
        """
        options = call_options(
            self._settings,
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            system_message=system_message,
            completion_params=completion_params,
            timeout=timeout,
            is_iterated=True,
        )
        return MessageStream(lambda: self._stream(options))

    def _stream(self, options: CallOptions) -> Call[ChatMessage]:
        return self._call(official.send_message(options, self._settings, SURROUNDINGS))

    def send_moderation(self, text: str, *, model: str = DEFAULT_MODERATION_MODEL) -> Moderation:
        """Ask whether a text is against the rules (`POST /moderations`).

        Args:
            text: the text.
            model: the model that is asked.

        Raises:
            TypeError, ValueError: an option is wrong; nothing was sent.
            ChatGPTError: whatever else went wrong.
        """
        return self._run(moderation.send_moderation(text, model, self._settings, SURROUNDINGS))

    def thread(self, message_id: str) -> list[ChatMessage]:
        """Return the thread that leads to a message, oldest first, the message itself last.

        Args:
            message_id: the id of a stored message.

        Raises:
            MessageNotFoundError: it is not in the store.
        """
        return list(self._run(official.read_thread(message_id)))

    def close(self) -> None:
        """Close the connections. A client that is used again opens new ones."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        settings: ClientSettings | None = getattr(self, "_settings", None)
        if settings is None:  # a traceback shows a client whose constructor failed
            return "<ChatGPTAPI that was not made>"
        return f"<ChatGPTAPI, {settings.model} at {settings.chat_url.partition('?')[0]}>"

    def __reduce__(
        self,
    ) -> tuple[Callable[..., ChatGPTAPI], tuple[type[ChatGPTAPI], dict[str, Any]]]:
        return _restored, (type(self), self._given)

    def _call(self, exchange: Exchange[T]) -> Call[T]:
        return Call(exchange, self._transport, self._store)

    def _run(self, exchange: Exchange[T]) -> T:
        call = self._call(exchange)
        call.advance()
        return call.result


def _restored(client: type[ChatGPTAPI], given: dict[str, Any]) -> ChatGPTAPI:
    """Make a client from a pickle: its secrets come from the environment again."""
    options: dict[str, Any] = recall_secrets(given)
    return client(**options)
