"""`ChatGPTUnofficialProxyAPI`: ChatGPT's own backend, through a reverse proxy, with an access token."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from chatgpt.base_web_clients import BaseUnofficialProxyAPI
from chatgpt.core.secrets import Secret
from chatgpt_async.transport import FetchFn
from chatgpt_async.web_calling import WebCaller


class GetAccessTokenFn(Protocol):
    """A function that gets an access token: a plain one, which must not block, or an async one."""

    def __call__(
        self, *, email: str | None, password: str | None, session_token: str | None
    ) -> str | Secret | Awaitable[str | Secret]:
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
    conversation id of the reply that it answers. One client may be used from many tasks, on asyncio and
    on trio, and from one event loop after the other; it pickles as its configuration, without secrets.

    `ChatGPTUnofficialProxyAPI.__init__` describes the options. Here, `get_access_token` is a plain
    function, which must not block, or an async one, and `session` is an `httpx2.AsyncClient`.
    """
