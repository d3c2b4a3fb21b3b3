"""Access tokens: kept, renewed once for all who wait, and again once after a refusal.

Strategy: the token of a client is one value that is replaced as a whole. Who needs a new one takes
the client's turn (`TakeTurn`); whoever waited for it meanwhile finds the new token, or the error of
the attempt that he waited for.

Rules:

1. There is one renewal at a time, however many threads or tasks ask.
2. A token that the server refuses is not used again, where another can be got. The call goes on with
   the new one, once; what it sent before was refused, so nothing is done twice.
3. An attempt that fails fails for all who waited for it, whoever's error it is; but not if it ran into
   the time limit of a single call, or was stopped. Those who come later try again.
4. What the caller sets while a renewal is on its way stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from math import inf
from typing import Final, TypeVar

from attrs import define, field, frozen

from chatgpt.core.errors import (
    APITimeoutError,
    AuthenticationError,
    ChatGPTError,
    ConfigurationError,
    StreamError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import (
    AskForAccessToken,
    Exchange,
    PassTurn,
    Surroundings,
    TakeTurn,
    TransportFailure,
)
from chatgpt.core.secrets import Secret, SecretMask
from chatgpt.core.validation import secret_of

T = TypeVar("T")

REFUSING_CODES: Final = frozenset(
    {"token_expired", "token_invalidated", "token_revoked", "invalid_jwt", "invalid_token"}
)
"""What a refused token is called where a proxy drops the status of the answer."""


class TokenRefused(Exception):  # noqa: N818 - no caller sees it
    """An answer that refuses the token, and holds nothing else; it is the error's to say how."""

    def __init__(self, error: StreamError) -> None:
        super().__init__(str(error))
        self.error = error


def if_refused(error: StreamError) -> Exception:
    """What to raise for an error that is all of an answer: proxies drop the status of a refusal."""
    return TokenRefused(error) if error.code in REFUSING_CODES else error


@define
class _Kept:
    """A token, and how long it is used."""

    token: Secret
    end: float
    is_refused: bool = False


@frozen
class _Attempt:
    """A renewal that is over: its number, and its error where it failed."""

    number: int = 0
    error: Exception | None = field(default=None, repr=False)


class Access(ABC):
    """The access token of a client. Shared by its calls, in whatever thread or task they run.

    Args:
        surroundings: the clock, and chance for retries.
        lifetime: for how many seconds a token is used; `math.inf` until it is refused.

    Attributes:
        failed_attempts: how often no new token was to be had.
    """

    def __init__(self, surroundings: Surroundings, lifetime: float = inf) -> None:
        self._surroundings = surroundings
        self._lifetime = lifetime
        self._kept: _Kept | None = None
        self._times_set = 0
        self._last = _Attempt()
        self.failed_attempts = 0

    @property
    def token(self) -> Secret | None:
        """The token that is used now, where there is one."""
        kept = self._kept
        if kept is None or kept.is_refused or self._surroundings.clock() >= kept.end:
            return None
        return kept.token

    def keep(self, token: Secret | None) -> None:
        """Use a token from now on; `None` for none."""
        self._times_set += 1
        self._put(token)

    def _put(self, token: Secret | None) -> None:
        self._kept = (
            None if token is None else _Kept(token, self._surroundings.clock() + self._lifetime)
        )

    def use(
        self, attempt: Callable[[Secret], Exchange[T]], limits: Limits, redact: SecretMask
    ) -> Exchange[T]:
        """Do something with a token; once more with a new one, if the server refuses the first.

        Args:
            attempt: what is done; raises `TokenRefused` where a refusal has no status of its own.
            limits: the deadlines of the call.
            redact: learns the token.

        Raises:
            ChatGPTError: no token was to be had, or what `attempt` raises.
        """
        for is_last in (False, True):
            token = yield from self.valid_token(limits, redact)
            try:
                return (yield from attempt(token))
            except AuthenticationError as refusal:
                error: ChatGPTError = refusal
            except TokenRefused as refusal:
                error = refusal.error
            if self.can_renew:
                self.refuse(token)
            if is_last or not self.can_renew:
                raise error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def refuse(self, token: Secret) -> None:
        """Use a token no more, if it is still in use."""
        kept = self._kept
        if kept is not None and kept.token is token:
            # Marked, not forgotten: another thread may just now keep a new one in its place.
            kept.is_refused = True

    def valid_token(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:
        """Return the token that is kept, or a new one.

        Args:
            limits: the deadlines of the call.
            redact: learns the token.
        """
        token = self.token or (yield from self._renewed(limits, redact))
        redact.also([token])
        return token

    def new_token(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:
        """Return a new token, whatever may be said for the one that is kept; the arguments are as above."""
        token = self.token
        if token is not None:
            self.refuse(token)
        return (yield from self.valid_token(limits, redact))

    def has_valid_token(self, limits: Limits, redact: SecretMask) -> Exchange[bool]:
        """Whether there is a valid token, or one could be got."""
        try:
            yield from self.valid_token(limits, redact)
        except ChatGPTError:
            return False
        return True

    def _renewed(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:
        seen = self._last
        try:
            yield from TakeTurn(max(limits.remaining, 0.0))
        except TransportFailure as failure:
            raise limits.end_of_wait(failure, "another call was getting an access token") from None
        last, token = self._last, self.token
        if token is not None:
            yield from PassTurn()
            return token
        is_shared = last.number != seen.number  # the attempt of the one who had the turn
        if is_shared and last.error is not None:
            yield from PassTurn()
            raise _again(last.error)
        times_set = self._times_set
        try:
            token = yield from self._fetch(limits, redact)
        except Exception as error:
            self._failed(error)
            raise
        if self._times_set == times_set:
            self._put(token)
        self._last = _Attempt(last.number + 1)
        yield from PassTurn()
        return token

    def _failed(self, error: Exception) -> None:
        """An attempt failed; it is kept for those who wait, without the frames of the one who made it."""
        self.failed_attempts += 1
        if not isinstance(error, APITimeoutError):
            self._last = _Attempt(self._last.number + 1, _again(error))

    @property
    def can_renew(self) -> bool:
        """Whether there is a way to another token."""
        return True

    @abstractmethod
    def _fetch(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:
        """Get a new token."""


class GivenAccess(Access):
    """A token that the caller gives, or a function of his that gets one.

    Args:
        surroundings: the clock.
        token: the one that was given.
        function: gets a token; `None` where there is only the one that was given.
        credentials: the function's arguments by name.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        token: Secret | None,
        function: Callable[..., object] | None,
        credentials: Mapping[str, Secret | None],
    ) -> None:
        super().__init__(surroundings)
        self.keep(token)
        self._function = function
        self._credentials = credentials

    @property
    def can_renew(self) -> bool:
        """Whether there is a way to another token."""
        return self._function is not None

    def _fetch(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:  # noqa: ARG002
        if self._function is None:
            raise ConfigurationError("access_token is missing: set client.access_token.")
        try:
            given = yield from AskForAccessToken(
                self._function, self._credentials, max(limits.remaining, 0.0), self._failed
            )
        except TransportFailure as failure:
            raise limits.end_of_wait(failure, "get_access_token was not done") from None
        token = secret_of("What get_access_token returned", given)
        if token is None:
            raise ConfigurationError("get_access_token returned None, not an access token.")
        return token


def _again(error: Exception) -> Exception:
    """The same error, for another caller: each gets a traceback of his own, where it can be copied."""
    try:
        twin = copy(error)
    except Exception:  # noqa: BLE001 - one of the caller's, whose class is its own affair
        return error
    if (str(twin), twin.args) != (str(error), error.args):
        return error
    twin.__cause__ = error.__cause__
    return twin
