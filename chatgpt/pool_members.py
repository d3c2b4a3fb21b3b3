"""What the client of an account does with a message of its pool, in either flow.

Rules:

1. A client is used as it is: its settings, its access token, what it has learned. The store, and what is known of
   messages on their way, are the pool's: a thread may go on with any account.
2. `timeout` and `abort` are the pool's affair, which has one deadline for all attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from chatgpt.base_client import BaseChatGPTAPI
from chatgpt.base_web_clients import BaseWebClient
from chatgpt.core import official
from chatgpt.core.call_options import question_of
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.sending import PooledCall
from chatgpt.core.secrets import Secret
from chatgpt.core.web import send
from chatgpt.core.web.options import web_call_options

SHORTEST: Final = 0.001
"""Seconds for an attempt that begins in the last moment."""

PLACE: Final = ("parent_message_id", "conversation_id", "message_id", "name")
"""The options that place a message in a thread of the official flow."""


@frozen
class PoolMessage:
    """A message that is to be sent, with the options of its call.

    Attributes:
        text: the message.
        options: those of its flow that were given, by name.
        is_iterated: whether the caller iterates over the parts.
        call: what the pool decides by.
    """

    text: object = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    is_iterated: bool
    call: PooledCall


class OfficialMember(Member):
    """The client of an account of the official flow, with a message.

    Args:
        account_id: the account.
        client: its client.
        message: what it is to send.
        counted, claimed: the pool's, see `OfficialCall`.
    """

    keeps_threads = False
    token = None
    failed_logins = 0

    def __init__(
        self,
        account_id: str,
        client: BaseChatGPTAPI[Any, Any, Any, Any],
        message: PoolMessage,
        counted: dict[str, ChatMessage],
        claimed: dict[str, object],
    ) -> None:
        self._account_id = account_id
        self._client = client
        self._message = message
        self._counted = counted
        self._claimed = claimed
        self.max_retries = client._settings.max_retries  # noqa: SLF001 - a client of this package

    def send(self, timeout: float, *, repeats: bool) -> Exchange[ChatMessage]:
        """Begin to send the message."""
        message = self._message
        options = dict(message.options)
        question = question_of(message.text, **{name: options.pop(name, None) for name in PLACE})
        call = self._client._official_call(  # noqa: SLF001
            is_iterated=message.is_iterated, timeout=max(timeout, SHORTEST), **options
        )
        call = evolve(
            call,
            settings=call.settings if repeats else evolve(call.settings, max_retries=0),
            counted=self._counted,
            claimed=self._claimed,
            account_id=self._account_id,
        )
        return official.send_message(question, call)

    def renew(self, token: Secret) -> None:
        """There is no token to renew: keys are the caller's."""


class WebMember(Member):
    """The client of an account of the web flow, with a message.

    Args:
        account_id: the account.
        client: its client.
        message: what it is to send.
    """

    keeps_threads = True

    def __init__(self, account_id: str, client: BaseWebClient[Any], message: PoolMessage) -> None:
        self._account_id = account_id
        self._client = client
        self._message = message
        self.max_retries = client._settings.max_retries  # noqa: SLF001 - a client of this package

    def send(self, timeout: float, *, repeats: bool) -> Exchange[ChatMessage]:  # noqa: ARG002
        """Begin to send the message; it is repeated only where it did not reach the server."""
        message, client = self._message, self._client
        settings, access = client._settings, client._access  # noqa: SLF001
        checked = web_call_options(
            settings,
            message.text,
            is_iterated=message.is_iterated,
            timeout=max(timeout, SHORTEST),
            **message.options,
        )
        checked = evolve(checked, account_id=self._account_id)
        return send.send_message(checked, settings, access, client._surroundings)  # noqa: SLF001

    @property
    def token(self) -> Secret | None:
        """The access token that is used now, if there is a way to another one."""
        access = self._client._access  # noqa: SLF001
        return access.token if access.can_renew else None

    def renew(self, token: Secret) -> None:
        """Use an access token no more."""
        self._client._access.refuse(token)  # noqa: SLF001

    @property
    def failed_logins(self) -> int:
        """How many attempts to get an access token have failed."""
        return self._client._access.failed_attempts  # noqa: SLF001
