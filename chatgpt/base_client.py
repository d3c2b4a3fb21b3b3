"""What a client is in both twins: its options, and for the official flow its settings and store.

A twin adds the methods that wait. The constructors stand here and in `base_web_clients`, so that both
twins take the same options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, Unpack

from chatgpt.core import official
from chatgpt.core.call_options import AnswerOptions, call_options, question_of
from chatgpt.core.composing import OfficialCall
from chatgpt.core.errors import ConfigurationError
from chatgpt.core.lessons import Lessons
from chatgpt.core.messages import ChatMessage
from chatgpt.core.models import EndpointName, ModelFamily
from chatgpt.core.needs import CountTokens, Exchange, Surroundings, TransportFailure
from chatgpt.core.options import (
    DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    ClientSettings,
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
from chatgpt.routes import RouteReport, report_of
from chatgpt.shutdowns import warn_of_shutdown

if TYPE_CHECKING:  # the official flow does without the web flow
    from chatgpt.core.web.options import WebSettings

MessageStoreT = TypeVar("MessageStoreT")
GetMessageByIdFunctionT = TypeVar("GetMessageByIdFunctionT")
UpsertMessageFunctionT = TypeVar("UpsertMessageFunctionT")
FetchFnT = TypeVar("FetchFnT")


class BaseClient(ABC):
    """A client of any flow: the options that made it, and what it shows and pickles of them."""

    _surroundings: ClassVar[Surroundings]
    _socks_package: ClassVar[str]
    """What the transport speaks SOCKS with."""
    _given: dict[str, Any]
    _settings: ClientSettings | WebSettings

    @property
    def model(self) -> str:
        """The model that is asked unless a call says otherwise."""
        return self._settings.model

    @property
    @abstractmethod
    def _message_url(self) -> str:
        """Where messages are posted."""

    def route(self) -> RouteReport:
        """Tell how messages get to their server, as the environment is now. Nothing is sent.

        Returns:
            The URL, the proxy and the certificates. With a `session` of your own, which goes its own way, the URL alone
            is known: the others are `None`.

        Raises:
            ConfigurationError: a message could not be sent that way: the proxy of the environment is no URL, its
                certificates are not there, or a SOCKS proxy lacks the extra `socks`.
        """
        settings = self._settings
        url = self._message_url
        if self._given["session"] is not None:
            return RouteReport(url=url.partition("?")[0], proxy=None, certificates=None)
        try:
            return report_of(url, settings.proxy, self._socks_package)
        except TransportFailure as failure:
            reason = settings.redactor()(failure.reason)
        # Not within `except`: the frames of the failure know the proxies of the environment.
        raise ConfigurationError(f"The request cannot be sent: {reason}")

    def __repr__(self) -> str:
        name = type(self).__name__
        # A traceback shows a client whose constructor failed, too.
        return (
            f"<{name}, {self.model} at {self._message_url.partition('?')[0]}>"
            if hasattr(self, "_settings")
            else f"<{name} that was not made>"
        )

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[type[Self], dict[str, Any]]]:
        return _restored, (type(self), self._given)


class BaseChatGPTAPI(
    BaseClient, Generic[MessageStoreT, GetMessageByIdFunctionT, UpsertMessageFunctionT, FetchFnT]
):
    """A client of the official flow, but for what waits."""

    _settings: ClientSettings

    def __init__(
        self,
        *,
        api_key: str | Secret | None = None,
        api_org: str | Secret | None = None,
        api_project: str | None = None,
        api_base_url: str | None = None,
        api_reverse_proxy_url: str | None = None,
        model: str | None = None,
        model_family: ModelFamily | str | None = None,
        endpoint: EndpointName | None = None,
        completion_params: Mapping[str, object] | None = None,
        system_message: str | None = None,
        max_model_tokens: int | None = None,
        max_response_tokens: int | None = None,
        user_label: str | None = None,
        assistant_label: str | None = None,
        message_store: MessageStoreT | None = None,
        get_message_by_id: GetMessageByIdFunctionT | None = None,
        upsert_message: UpsertMessageFunctionT | None = None,
        tokenizer: CountTokens | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str | Secret] | None = None,
        proxy: str | Secret | None = None,
        session: FetchFnT | None = None,
        debug: bool = False,
    ) -> None:
        """Make a client. Nothing is sent.

        Args:
            api_key: the key; by default `OPENAI_API_KEY` of the environment. A server on this
                machine needs none.
            api_org: the organization; by default `OPENAI_ORG_ID`, or `OPENAI_API_ORG`.
            api_project: the project; by default `OPENAI_PROJECT_ID`.
            api_base_url: where the API is; by default `OPENAI_BASE_URL`, or `OPENAI_API_BASE_URL`,
                or OpenAI's. A URL without a path gets `/v1`.
            api_reverse_proxy_url: the whole URL to which messages are posted, in place of
                `{api_base_url}/chat/completions` or `{api_base_url}/completions`, which are the default.
            model: the model; by default `OPENAI_MODEL`, or `"gpt-5.4-mini"`.
            model_family: what is known of the model, where its name does not tell (a deployment of Azure,
                a model of your own): a `ModelFamily`, or the name of a model of the same family
                (`"gpt-4o"`). It holds for every model that this client asks; by default its name tells.
            endpoint: `"chat"` for chat completions, `"completions"` for text completions; by default what
                the model's family says.
            completion_params: further fields of each request, such as `{"temperature": 0.2}`. None
                is sent that is not given here or in the call, and what the model is known to refuse
                is left out (`reply.context.changes`). `messages`, `prompt` and `stream` are the SDK's
                own, and not looked at. Text completions always have a limit and, if the model's family
                has ends of messages, a `stop`, by default these.
            system_message: the instructions. `None` for the default ones, with today's date (UTC);
                `""` for none.
            max_model_tokens: the window for prompt and reply, in tokens; by default what is known
                of the model's family.
            max_response_tokens: the largest reply in tokens: it is reserved and sent as a limit. By
                default min(largest reply, 4096, window / 4) is reserved and no limit is sent (but by text
                completions, which would end after a few words).
            user_label: what stands before the messages of the user in text completions; by default
                `"User"`. A message with a name has that in its place.
            assistant_label: the same for the replies; by default `"ChatGPT"`.
            message_store: where messages are kept; by default the 10,000 used last, in memory. It is yours
                to close.
            get_message_by_id: looks a message up, in place of the store's own way, which is the default.
                Where it finds none and is given alone, the store is asked.
            upsert_message: saves a message, in place of the store's own way, which is the default: the
                question, then the answer. If it is given alone, the store holds the messages, too, and looks
                them up. Whatever fails once a reply is there is the cause of a `StoreError`, which carries it.
            tokenizer: counts the tokens of a text; by default the model's encoding does.
            timeout: seconds for a whole call: connecting, retries, sleeps and the last byte; by
                default 600, `math.inf` for no limit. The time of your own functions and store
                counts, but they are not interrupted.
            idle_timeout: seconds of silence that are borne in a stream, comments being silence; by
                default 120. An answer that is no stream is silent until it is done.
            connect_timeout: seconds for connecting, each time; by default 10.
            max_retries: how often at most a request is repeated that was answered with 408, 409,
                429 or 5xx or found no server; by default 2. A quota that is used up and an answer
                that has begun are not.
            headers: further headers of each request, by default none; they win over the SDK's own. Those whose names
                look like credentials are treated as secrets; give `Secret(value, "VARIABLE")` to
                name the variable from which an unpickled client reads them.
            proxy: the URL of a proxy, `http`, `https` or `socks5`; by default the proxy variables
                of the environment.
            session: a session of your own, which stays yours to close; by default the client has its own.
            debug: whether the log of the SDK goes to standard error.

        Raises:
            ConfigurationError: an option is missing, malformed or contradicts another one.
            TypeError: an option has the wrong type.
        """
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
            "model_family": model_family,
            "endpoint": endpoint,
            "completion_params": completion_params,
            "system_message": system_message,
            "max_model_tokens": max_model_tokens,
            "max_response_tokens": max_response_tokens,
            "user_label": user_label,
            "assistant_label": assistant_label,
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
        if self._settings.needs_key:  # a pickle names the variable, also where nobody gave the key
            given["api_key"] = self._settings.api_key
        self._lessons = Lessons()
        self._counted: dict[str, ChatMessage] = {}
        self._claimed: dict[str, object] = {}
        self._open(message_store, get_message_by_id, upsert_message, session)
        if debug:
            log_to_stderr()

    @abstractmethod
    def _open(
        self,
        message_store: MessageStoreT | None,
        get_message_by_id: GetMessageByIdFunctionT | None,
        upsert_message: UpsertMessageFunctionT | None,
        session: FetchFnT | None,
    ) -> None:
        """Make the store and the transport of the twin."""

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
        self._lessons = Lessons()  # an organization may do what another one may not

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
        self._lessons = Lessons()

    def _sending(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        is_iterated: bool = False,
        **options: Unpack[AnswerOptions],
    ) -> Exchange[ChatMessage]:
        """The exchange that sends a message. Its options are checked now; it begins when stepped."""
        question = question_of(
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
        )
        return official.send_message(
            question, self._official_call(is_iterated=is_iterated, **options)
        )

    def _official_call(
        self, *, is_iterated: bool = False, **options: Unpack[AnswerOptions]
    ) -> OfficialCall:
        """A call with these options, which are checked now."""
        checked = call_options(self._settings, is_iterated=is_iterated, **options)
        warn_of_shutdown(checked.model, self._surroundings.now())
        return OfficialCall(
            checked,
            self._settings,
            self._surroundings,
            self._lessons,
            self._counted,
            self._claimed,
        )

    @property
    def _message_url(self) -> str:
        settings = self._settings
        return settings.message_url(settings.endpoint_of(settings.family(settings.model)))


def _restored(client: type[BaseClient], given: dict[str, Any]) -> Any:
    """Make a client from a pickle: its secrets come from the environment again."""
    options: dict[str, Any] = recall_secrets(given)
    return client(**options)
