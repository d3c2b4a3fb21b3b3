"""The clients of a pool, as its calls see them.

What a member does with a message is the business of its flow; `chatgpt.base_pool` makes members of clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.secrets import Secret


class Member(ABC):
    """The client of an account.

    Attributes:
        max_retries: how often it repeats a request at most.
        keeps_threads: whether the server keeps the conversations of the account: those of the web flow go on there
            and nowhere else, and no message is sent twice.
    """

    max_retries: int
    keeps_threads: bool

    @abstractmethod
    def send(self, timeout: float, *, repeats: bool) -> Exchange[ChatMessage]:
        """Begin to send the message of a call.

        Args:
            timeout: seconds for it.
            repeats: whether the client itself repeats the request, as often as it may.

        Raises:
            TypeError, ValueError: an option is wrong for this client.
        """

    @property
    @abstractmethod
    def token(self) -> Secret | None:
        """The access token that is used now, where it is one that can be renewed."""

    @abstractmethod
    def renew(self, token: Secret) -> None:
        """Use an access token no more, if it is still in use: the next attempt gets another."""

    @property
    @abstractmethod
    def failed_logins(self) -> int:
        """How many attempts to get an access token have failed."""
