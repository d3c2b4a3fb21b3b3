"""Access tokens, stepped by hand: kept, renewed once for all who wait, and again after a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatgpt import (
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ChatGPTError,
    ConfigurationError,
    Secret,
    StreamError,
    TokenExpiredError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import (
    AskForAccessToken,
    Exchange,
    Need,
    PassTurn,
    Running,
    SendRequest,
    TakeTurn,
    TransportFailure,
)
from chatgpt.core.secrets import SecretMask
from chatgpt.core.web.access import Access, GivenAccess
from chatgpt.core.web.options import web_call_options
from chatgpt.core.web.send import send_message
from tests.core.web.made import (
    ECHO,
    HIDDEN,
    access_of,
    events,
    message,
    proxy,
    send,
    session,
    snapshot,
)
from tests.core.web.made import surroundings as moment_of
from tests.stepping import Answered, Clock, Stepper, json_answer, surroundings

EXPIRED = {"detail": {"message": "Your token has expired", "code": "token_expired"}}
HELLO = events(snapshot(message("Hello", end_turn=True)))


def tokens_of(stepper: Stepper) -> list[str]:
    """The bearer tokens that were sent, by request; those without are of the session."""
    sent = []
    for need in stepper.of(SendRequest):
        header = need.request.headers.get("authorization")
        sent.append(header.reveal().removeprefix("Bearer ") if header is not None else "session")
    return sent


class Tokens:
    """A function that gets access tokens, and what it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str | None]] = []

    def __call__(self, **credentials: str | None) -> str:
        self.calls.append(credentials)
        return f"token-{len(self.calls)}"


def test_a_given_token_is_used() -> None:
    stepper = Stepper(Answered(HELLO))
    send(stepper)
    assert tokens_of(stepper) == ["access-token-1"]
    assert stepper.of(TakeTurn) == []


def test_the_function_is_asked_once() -> None:
    function = Tokens()
    settings = proxy(get_access_token=function, email="e", password="p w", session_token="s")
    stepper = Stepper(Answered(HELLO), Answered(HELLO))
    access = access_of(settings, moment_of(stepper))
    for _ in range(2):
        send(stepper, settings=settings, access=access)
    assert function.calls == [{"email": "e", "password": "p w", "session_token": "s"}]
    assert tokens_of(stepper) == ["token-1", "token-1"]


def test_it_is_asked_again_once_after_a_refusal() -> None:
    function = Tokens()
    settings = proxy(get_access_token=function)
    stepper = Stepper(json_answer(EXPIRED, 401), Answered(HELLO))
    assert send(stepper, settings=settings).text == "Hello"
    assert tokens_of(stepper) == ["token-1", "token-2"]

    stepper = Stepper(json_answer(EXPIRED, 401), json_answer(EXPIRED, 401))
    with pytest.raises(TokenExpiredError):
        send(stepper, settings=settings)
    assert len(function.calls) == 4


@pytest.mark.parametrize(
    "detail",
    [
        {"message": "no", "code": "token_expired"},
        {"message": "no", "code": "invalid_jwt"},
        {"code": "invalid_token"},
        "invalid_token",
        "token_expired",
    ],
)
def test_a_proxy_that_drops_the_status(detail: object) -> None:
    refusal = {"detail": detail}
    settings = proxy(get_access_token=Tokens())
    stepper = Stepper(json_answer(refusal), Answered(HELLO))
    assert send(stepper, settings=settings).text == "Hello"
    assert tokens_of(stepper) == ["token-1", "token-2"]


def test_what_was_said_already_is_not_asked_for_again() -> None:
    settings = proxy(get_access_token=Tokens())
    stepper = Stepper(Answered(events(snapshot(message("Hel")), EXPIRED)))
    with pytest.raises(StreamError) as caught:
        send(stepper, settings=settings)
    assert (caught.value.partial, caught.value.code) == ("Hel", "token_expired")


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_other_errors_cost_no_token(status: int) -> None:
    settings = proxy(get_access_token=Tokens())
    stepper = Stepper(json_answer(EXPIRED, status))
    with pytest.raises(ChatGPTError):
        send(stepper, settings=settings)
    assert tokens_of(stepper) == ["token-1"]


def test_a_token_that_was_refused_is_not_used_again() -> None:
    settings = proxy(get_access_token=Tokens())
    stepper = Stepper(json_answer(EXPIRED, 401), json_answer(EXPIRED, 401), Answered(HELLO))
    access = access_of(settings, moment_of(stepper))
    with pytest.raises(TokenExpiredError):
        send(stepper, settings=settings, access=access)
    assert access.token is None
    send(stepper, settings=settings, access=access)
    assert tokens_of(stepper) == ["token-1", "token-2", "token-3"]


@pytest.mark.parametrize(
    "begun",
    [
        snapshot(ECHO),
        snapshot(message("")),
        snapshot(HIDDEN),
        {"type": "input_message", "input_message": ECHO},
        {"type": "resume_conversation_token", "token": "x"},
    ],
)
def test_a_message_that_was_taken_is_not_sent_again(begun: object) -> None:
    """Whatever the error after it says."""
    settings = proxy(get_access_token=Tokens())
    stepper = Stepper(Answered(events(begun, EXPIRED)))
    with pytest.raises(StreamError) as caught:
        send(stepper, settings=settings)
    assert (tokens_of(stepper), caught.value.code) == (["token-1"], "token_expired")


def test_the_turn_is_passed_on_before_the_token_is_used() -> None:
    """Nobody waits for the reply of the one who got the token."""
    for settings, answers in (
        (proxy(get_access_token=Tokens()), [Answered(HELLO)]),
        (session(), [json_answer({"accessToken": "t"}), Answered(HELLO)]),
    ):
        stepper = Stepper(*answers)
        send(stepper, settings=settings)
        order = [type(need) for need in stepper.needs if isinstance(need, (TakeTurn, PassTurn, SendRequest))]  # fmt: skip
        assert order[0] is TakeTurn
        assert order[-2:] == [PassTurn, SendRequest]


def test_a_function_that_is_not_done_in_time() -> None:
    stepper = Stepper()
    settings = proxy(get_access_token=Tokens())
    moment = moment_of(stepper)
    options = web_call_options(settings, "hi", timeout=5)
    running = Running(send_message(options, settings, access_of(settings, moment), moment))
    running.resume(None)
    assert isinstance(running.need, AskForAccessToken)
    assert running.need.timeout == 5
    running.fail(TransportFailure("timeout", "the function was not done"))
    with pytest.raises(APITimeoutError, match="get_access_token was not done") as caught:
        running.result()
    assert caught.value.limit == "total"


def test_without_a_function_a_refusal_is_an_error() -> None:
    stepper = Stepper(json_answer(EXPIRED, 401))
    with pytest.raises(TokenExpiredError):
        send(stepper)


@pytest.mark.parametrize(
    ("returned", "kind", "shown"),
    [
        (None, ConfigurationError, "returned None"),
        ("", ConfigurationError, "is blank"),
        ("a b", ConfigurationError, "holds a line end, a space"),
        (5, TypeError, "must be a str or a Secret, not int"),
    ],
)
def test_what_the_function_must_not_return(
    returned: Any, kind: type[Exception], shown: str
) -> None:
    settings = proxy(get_access_token=lambda **_: returned)
    with pytest.raises(kind, match=shown):
        send(Stepper(), settings=settings)


def test_it_may_return_a_secret() -> None:
    settings = proxy(get_access_token=lambda **_: Secret("hidden-token"))
    stepper = Stepper(Answered(HELLO))
    send(stepper, settings=settings)
    assert tokens_of(stepper) == ["hidden-token"]


def test_a_token_of_the_session_lives_as_long_as_it_may() -> None:
    clock = Clock()
    settings = session(access_token_ttl=10)
    answers = []
    for number in range(2):
        answers += [
            json_answer({"accessToken": f"token-{number}"}),
            Answered(HELLO),
            Answered(HELLO),
        ]
    stepper = Stepper(*answers, clock=clock)
    access = access_of(settings, moment_of(stepper))
    for later in (0, 9.9, 0.2, 9.7):
        clock.seconds += later
        send(stepper, settings=settings, access=access)
    assert tokens_of(stepper) == ["session", "token-0", "token-0", "session", "token-1", "token-1"]


def test_a_token_that_is_set_wins() -> None:
    stepper = Stepper(Answered(HELLO), Answered(HELLO))
    settings = proxy(get_access_token=Tokens())
    access = access_of(settings, moment_of(stepper))
    access.keep(Secret("set-1"))
    send(stepper, settings=settings, access=access)
    access.keep(None)
    send(stepper, settings=settings, access=access)
    assert tokens_of(stepper) == ["set-1", "token-1"]


# --- many at once ----------------------------------------------------------------------------


class Crowd:
    """Exchanges that want a token at the same time; one of them has the turn.

    Args:
        access: whose token.
        count: how many there are.
    """

    def __init__(self, access: Access, count: int) -> None:
        self.clock = Clock()
        self.fetched = 0
        self.waiting: list[Running[Secret]] = []
        self.results: list[Secret | Exception] = []
        self._access = access
        for _ in range(count):
            self.join()

    def join(self, timeout: float = 60.0) -> None:
        limits = Limits(self.clock, total=timeout, idle=60, connect=10)
        running = Running(self._access.valid_token(limits, SecretMask([])))
        assert isinstance(running.need, TakeTurn)
        self.waiting.append(running)

    def play(self, answer: Callable[[int], Secret]) -> None:
        """Let one after the other have the turn; `answer` is what a fetch gives, or raises."""
        while self.waiting:
            running = self.waiting.pop(0)
            try:
                running.resume(None)
                while (need := running.need) is not None:
                    running.resume(self._meet(need, answer))
                self.results.append(running.result())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
                running.close()
                self.results.append(error)

    def _meet(self, need: Need[Any], answer: Callable[[int], Secret]) -> Any:
        if isinstance(need, PassTurn):
            return None
        assert isinstance(need, AskForAccessToken)
        self.fetched += 1
        try:
            return answer(self.fetched)
        except Exception as error:
            need.failed(error)
            raise


def access() -> Access:
    return GivenAccess(surroundings(), None, lambda **_: "x", {})


def refused(token: str = "old") -> Access:
    """An access whose token was refused."""
    shared, secret = access(), Secret(token)
    shared.keep(secret)
    shared.refuse(secret)
    assert shared.token is None
    return shared


def test_one_renewal_serves_all() -> None:
    crowd = Crowd(access(), 50)
    crowd.play(lambda number: Secret(f"token-{number}"))
    assert crowd.fetched == 1
    assert crowd.results == 50 * [Secret("token-1")]


def test_one_renewal_serves_all_to_whom_the_token_was_refused() -> None:
    crowd = Crowd(refused(), 50)
    crowd.play(lambda number: Secret(f"token-{number}"))
    assert (crowd.fetched, set(crowd.results)) == (1, {Secret("token-1")})


def test_the_same_token_again_is_renewed_once_all_the_same() -> None:
    crowd = Crowd(refused("old"), 50)
    crowd.play(lambda _: Secret("old"))
    assert (crowd.fetched, crowd.results) == (1, 50 * [Secret("old")])


def test_a_late_refusal_concerns_the_token_that_was_refused() -> None:
    """Not the one that took its place, nor one that was refused meanwhile."""
    shared, first, second = access(), Secret("first"), Secret("second")
    shared.keep(first)
    shared.keep(second)
    shared.refuse(first)
    assert shared.token is second
    shared.refuse(second)
    shared.refuse(first)
    assert shared.token is None


def test_a_token_that_is_set_during_a_renewal_stands() -> None:
    for given in (Secret("set"), None):
        shared = access()
        crowd = Crowd(shared, 1)

        def answer(_: int) -> Secret:
            shared.keep(given)  # noqa: B023 - it is called at once
            return Secret("fetched")

        crowd.play(answer)
        assert crowd.results == [Secret("fetched")]
        assert shared.token == given


class OddError(Exception):
    """One that cannot be copied."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class WordyError(Exception):
    """One whose message is not what it is made of."""

    def __init__(self, user: str) -> None:
        super().__init__(f"no token for {user}")
        self.user = user


@pytest.mark.parametrize(
    "error",
    [
        LookupError("mine"),
        TimeoutError("mine"),
        OSError(5, "mine"),
        FileNotFoundError(2, "No such file", "/nope/token.txt"),
        UnicodeDecodeError("utf-8", b"a", 0, 1, "x"),
        OddError("a", "b"),
        WordyError("bob"),
    ],
)
def test_the_failure_of_the_function_is_shared_by_those_who_waited(error: Exception) -> None:
    """Nobody tries to sign in fifty times."""

    def fail(_: int) -> Secret:
        raise error

    crowd = Crowd(access(), 50)
    crowd.play(fail)
    assert crowd.fetched == 1
    assert {type(result) for result in crowd.results} == {type(error)}
    assert {str(result) for result in crowd.results} == {str(error)}


def test_a_value_of_the_wrong_type_is_shared_too() -> None:
    crowd = Crowd(access(), 50)
    crowd.play(lambda _: Secret(5))  # type: ignore[arg-type] # that is the point
    assert crowd.fetched == 1
    assert {type(result) for result in crowd.results} == {TypeError}


def test_the_error_that_is_kept_holds_no_frames() -> None:
    shared = access()
    crowd = Crowd(shared, 1)
    crowd.play(lambda _: Secret("not a token"))
    kept = shared._last.error
    assert isinstance(kept, ConfigurationError)
    assert kept is not crowd.results[0]
    assert kept.__traceback__ is None


def test_a_failure_is_shared_by_those_who_waited() -> None:
    crowd = Crowd(access(), 50)
    crowd.play(lambda _: Secret("not a token"))
    assert crowd.fetched == 1
    errors = [error for error in crowd.results if isinstance(error, ConfigurationError)]
    assert len({id(error) for error in errors}) == 50
    assert len({str(error) for error in errors}) == 1

    crowd.join()
    crowd.play(lambda number: Secret(f"token-{number}"))
    assert crowd.results[-1] == Secret("token-2")


def test_whoever_waits_too_long_says_so() -> None:
    crowd = Crowd(access(), 0)
    crowd.join(timeout=5)
    running = crowd.waiting[0]
    assert isinstance(running.need, TakeTurn)
    assert running.need.timeout == 5
    running.fail(TransportFailure("timeout", "another call had the turn"))
    with pytest.raises(APITimeoutError, match="another call was getting an access token") as caught:
        running.result()
    assert caught.value.limit == "total"


def test_a_renewal_that_is_left_is_no_attempt() -> None:
    """The next one who has the turn makes his own."""
    crowd = Crowd(access(), 2)
    first = crowd.waiting.pop(0)
    first.resume(None)
    first.close()
    crowd.play(lambda _: Secret("token-x"))
    assert (crowd.fetched, crowd.results) == (1, [Secret("token-x")])


def test_a_limit_of_one_call_is_not_shared() -> None:
    settings = session(timeout=5.0, max_retries=0)
    stepper = Stepper(
        TransportFailure("read_timeout", "silence"), json_answer({"accessToken": "t-1"})
    )
    shared = access_of(settings, moment_of(stepper))
    limits = [Limits(stepper.clock, total=5, idle=60, connect=10) for _ in range(2)]
    waiting = Running(shared.valid_token(limits[1], SecretMask([])))
    with pytest.raises(APITimeoutError):
        stepper.run(shared.valid_token(limits[0], SecretMask([])))
    stepper.clock.seconds -= 5

    def going_on() -> Exchange[Secret]:
        while waiting.need is not None:
            waiting.resume((yield waiting.need))
        return waiting.result()

    assert stepper.run(going_on()) == Secret("t-1")


def test_no_token_and_no_way_to_one() -> None:
    alone = GivenAccess(surroundings(), None, None, {})
    with pytest.raises(ConfigurationError, match="access_token is missing"):
        Stepper().run(
            alone.valid_token(Limits(Clock(), total=5, idle=5, connect=5), SecretMask([]))
        )


def test_is_authenticated() -> None:
    settings = session(max_retries=0)
    for answer, expected in (
        (json_answer({"accessToken": "t"}), True),
        (json_answer({}), False),
        (json_answer({}, 500), False),
        (TransportFailure("unreached", "refused"), False),
    ):
        stepper = Stepper(answer)
        shared = access_of(settings, moment_of(stepper))
        limits = Limits(stepper.clock, total=5, idle=5, connect=5)
        assert stepper.run(shared.has_valid_token(limits, SecretMask([]))) is expected


@pytest.mark.parametrize("kind", [AuthenticationError, BadRequestError])
def test_a_shared_error_keeps_what_it_says(kind: type[ChatGPTError]) -> None:
    from chatgpt.core.web.access import _again

    cause = ValueError("cause")
    error = kind("x", status_code=401, retry_after=2.0, body={"a": 1})
    error.__cause__ = cause
    twin = _again(error)
    assert twin is not error
    assert (type(twin), str(twin), vars(twin)) == (kind, "x", vars(error))
    assert twin.__cause__ is cause
