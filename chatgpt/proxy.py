"""`ChatGPTUnofficialProxyAPI`: ChatGPT's own backend, through a reverse proxy, with an access token."""

from __future__ import annotations

from typing import Protocol

from chatgpt.base_web_clients import BaseUnofficialProxyAPI
from chatgpt.core.secrets import Secret
from chatgpt.core.validation import plain_function
from chatgpt.transport import FetchFn
from chatgpt.web_calling import WebCaller


class GetAccessTokenFn(Protocol):
    """A function that gets an access token."""

    def __call__(
        self, *, email: str | None, password: str | None, session_token: str | None
    ) -> str | Secret:
        """Return an access token.

        Args:
            email: what the client was given as `email`.
            password: what it was given as `password`.
            session_token: what it was given as `session_token`.
        """
        ...


class ChatGPTUnofficialProxyAPI(WebCaller, BaseUnofficialProxyAPI[GetAccessTokenFn, FetchFn]):
    """A client for ChatGPT's own backend, or a reverse proxy in front of it, with an access token.

    Unofficial: the backend has no published interface, and may change or refuse at any time. Use your
    own account, and prefer `ChatGPTAPI`. The server keeps the thread: a follow-up gives the id and the
    conversation id of the reply that it answers. One client may be used from many threads; it survives
    a fork, and pickles as its configuration, without secrets.

    `ChatGPTUnofficialProxyAPI.__init__` describes the options. Here, `get_access_token` is a plain
    function and `session` is a `requests.Session`.
    """

    def _open(self, session: FetchFn | None) -> None:
        plain_function("get_access_token", self._settings.get_access_token)
        super()._open(session)
