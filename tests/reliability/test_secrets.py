"""Canaries run through every public call on every engine, failing and not; everything that shows is searched.

Strategy: a secret is wherever a client can be given one, and the server repeats what it knows wherever an answer
has room for it. `public_calls` finds and makes the calls, `canaries` searches what they bring, and what was logged,
printed, warned of, stored and sent meanwhile.

Rules:

1. Root's logging is at DEBUG, and `debug=True`, throughout.
2. What is promised: a secret in an option that is made for it is shown nowhere, however malformed it is; and
   whatever a server repeats of it. What is not: a secret that a caller gives as something else, as the id of a
   message or the name of a model, is what he says it is; and the text of a reply is the model's.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import pytest

import chatgpt
import chatgpt_async
from chatgpt import AbortedError, CancelToken
from chatgpt.testing import ChatGPTServer, Fault, RawAnswer
from tests.engines import Engine
from tests.reliability.canaries import (
    ACCESS_TOKEN,
    MADE_COOKIE,
    MADE_TOKEN,
    LoggedRecords,
    Search,
    search_warnings,
)
from tests.reliability.public_calls import (
    CALLS,
    ENVIRONMENT,
    Case,
    Scene,
    make_server,
    missing_cases,
    official_scene,
    pool_scene,
    proxy_scene,
    scene_behind_a_proxy,
    session_scene,
    takes,
)
from tests.reliability.report import Report
from tests.reliability.wire import WELL

GROUP: Final = "Secrets"
SEEN: Final = "nothing is shown"


class Watch:
    """Everything that shows during a test.

    Attributes:
        search: gathers the finds.
    """

    def __init__(self, report: Report, capfd: pytest.CaptureFixture[str]) -> None:
        self.search = Search()
        self.logged = LoggedRecords(self.search)
        self._report = report
        self._capfd = capfd
        self._before = _environment()
        self._warnings = warnings.catch_warnings(record=True)

    def __enter__(self) -> Self:
        self._warned = self._warnings.__enter__()
        warnings.simplefilter("always")
        root, sdk = logging.getLogger(), logging.getLogger("chatgpt")
        self._levels = root.level, sdk.level
        root.addHandler(self.logged)
        root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        root, sdk = logging.getLogger(), logging.getLogger("chatgpt")
        root.removeHandler(self.logged)
        sdk.handlers.clear()  # those of `debug=True` write to what is captured in this test
        root.setLevel(self._levels[0])
        sdk.setLevel(self._levels[1])
        self._warnings.__exit__(None, None, None)

    def of(self, where: str, call: Callable[[], object]) -> object:
        """Make a call, search what it brings, and return that: a value or an error."""
        try:
            brought = call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
            brought = error
        self.search.value(where, brought)
        return brought

    def finish(self) -> None:
        """Search what was printed, warned of, and done to the process; fail if something was found."""
        captured = self._capfd.readouterr()
        self.search.text("standard output", captured.out)
        self.search.text("standard error", captured.err)
        search_warnings(self.search, self._warned or ())
        self.search.text("the command line", Path("/proc/self/cmdline").read_bytes())
        changed = dict(_environment() ^ self._before)
        assert not changed, f"The environment was changed: {sorted(changed)}."
        assert self.logged.count, "Nothing was logged: the search has seen nothing."
        self.search.finish(self._report)


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset(item for item in os.environ.items() if item[0] != "PYTEST_CURRENT_TEST")


@pytest.fixture
def watch(
    report: Report, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Watch]:
    if "environment" in request.node.name:  # it is set before the watch begins
        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
    with Watch(report, capfd) as made:
        yield made


@pytest.fixture
def server() -> Iterator[ChatGPTServer]:
    with make_server() as server:
        yield server


# --- every call, and every outcome -----------------------------------------------------------

MakeAnswer: TypeAlias = Callable[[str, str], Fault | RawAnswer]
"""Makes an answer of one secret that the client knows, and of all of them in one line."""

SAID: Final = json.dumps(
    {"accessToken": MADE_TOKEN, "error": "RefreshAccessTokenError", "user": {"name": "A"}}
)
SET_COOKIES: Final = (
    f"cf_clearance={MADE_COOKIE}; Path=/, __Secure-next-auth.session-token.0={MADE_COOKIE}; Secure"
)


def _error(secret: str, told: str) -> str:
    error = {"message": f"Incorrect API key provided: {told}", "code": secret, "param": secret}
    return json.dumps({"error": error, "detail": {"message": f"a={told}", "code": secret}})


FAULTS: Final[dict[str, MakeAnswer]] = {
    "the server repeats what it refuses, 401": lambda one, told: Fault(
        status=401, body=_error(one, told)
    ),
    "the server repeats it in HTML, 403 and 500": lambda one, told: Fault(
        status=500, body=f"<html><title>{one}</title>{told}</html>"
    ),
    "the server repeats it in headers": lambda one, told: Fault(
        status=429,
        body="{}",
        headers={
            "set-cookie": f"a={one}; Path=/",
            "x-request-id": one,
            "retry-after": one,
            "www-authenticate": f'Bearer realm="{told}"',
            "content-type": told,
            "x-echo": told,
        },
    ),
    "a redirect to a URL that holds it": lambda one, _: Fault(
        status=307, headers={"location": f"http://elsewhere.example/?key={one}"}
    ),
    "the reason phrase holds it": lambda one, told: RawAnswer(
        [f"HTTP/1.1 418 {one} {told}\r\ncontent-length: 2\r\n\r\n{{}}".encode()]
    ),
    "an answer that is no HTTP holds it": lambda one, told: RawAnswer(
        [f"HTTP/1.1 200 {one}\r\n{told} without a colon\r\ncontent-length: {one}\r\n\r\n".encode()]
    ),
    "an error in an answer of status 200": lambda one, told: Fault(
        status=200, body=_error(one, told)
    ),
    "an error in a stream": lambda one, told: Fault(
        error_after=1, error={"message": f"boom {told}", "code": one}
    ),
    "an answer that is nonsense": lambda one, told: Fault(
        status=200, body=f'data: {{"{one}": {told}\n\n{told}'
    ),
    "a chunk that is none": lambda one, told: RawAnswer(
        [f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{one} {told}\r\n".encode()]
    ),
    "tokens that the server makes, in an error": lambda _, __: Fault(
        status=500, body=SAID, headers={"set-cookie": SET_COOKIES, "location": f"/?t={MADE_TOKEN}"}
    ),
    "tokens that the server makes, cut off": lambda _, __: Fault(status=400, body=SAID[:60]),
    "the connection is reset": lambda _, __: Fault(reset=True),
    "the answer is cut off": lambda _, __: Fault(cut_after=60),
}
WELL_DONE: Final = "the call goes well"
NEW_COOKIES: Final = "new cookies in an answer that is well"

ROWS: Final = {
    "the server repeats a secret in an error": (
        "the server repeats what it refuses, 401",
        "the server repeats it in HTML, 403 and 500",
        "an error in an answer of status 200",
        "an error in a stream",
    ),
    "the server repeats a secret in a header, a URL or the reason phrase": (
        "the server repeats it in headers",
        "a redirect to a URL that holds it",
        "the reason phrase holds it",
    ),
    "the server writes a secret where HTTP, a chunk or JSON should be": (
        "an answer that is no HTTP holds it",
        "a chunk that is none",
        "an answer that is nonsense",
    ),
    "the server makes new tokens and cookies": (
        "tokens that the server makes, in an error",
        "tokens that the server makes, cut off",
        NEW_COOKIES,
    ),
    "the connection breaks, or the time is over": (
        "the connection is reset",
        "the answer is cut off",
        "the time is over",
    ),
}
"""Rows of the report, which hold several of these; what stands in none is a row of its own."""
_ROW_OF: Final = {what: row for row, several in ROWS.items() for what in several}

KINDS: Final[Mapping[str, tuple[str, Callable[[Engine, ChatGPTServer], Scene]]]] = {
    "ChatGPTAPI": ("ChatGPTAPI", official_scene),
    "ChatGPTAPI behind a proxy": ("ChatGPTAPI", scene_behind_a_proxy),
    "Conversation, environment": ("Conversation", partial(official_scene, given={})),
    "MessageStream": ("MessageStream", official_scene),
    "pool": ("ChatGPTPool", partial(pool_scene, of=official_scene)),
    "pool of the web flow": ("ChatGPTPool", partial(pool_scene, of=proxy_scene)),
    "proxy with a function": ("ChatGPTUnofficialProxyAPI", proxy_scene),
    "proxy with a token": (
        "WebConversation",
        partial(proxy_scene, given={"access_token": ACCESS_TOKEN}),
    ),
    "session": ("ChatGPTSessionAPI", session_scene),
    "session, environment": ("WebConversation", partial(session_scene, given={})),
}
"""The class whose methods are called, and the clients with which."""

UNDONE: Final = {
    "MessageStream": {"close": "StreamInterruptedError", "result": "StreamInterruptedError"},
}
"""Calls that fail where nothing is wrong."""


@pytest.mark.parametrize("package", [chatgpt, chatgpt_async])
def test_every_public_call_has_a_case(package: Any) -> None:
    missing, vanished = missing_cases(package)
    assert not missing, "Add a case to tests/reliability/public_calls.py."
    assert not vanished


class _Outcomes:
    """The calls of one class, with one kind of clients, under all that can happen to them."""

    def __init__(self, kind: str, engine: Engine, server: ChatGPTServer, watch: Watch) -> None:
        self.name, make = KINDS[kind]
        self.kind = kind
        self.watch = watch
        self.scene = make(engine, server)
        self.well: tuple[RawAnswer, ...] = (RawAnswer([WELL]),) if "behind" in kind else ()
        self.tried: Counter[str] = Counter()
        self.failed: dict[str, dict[str, str]] = {}
        self.scene.begin(*self.well)

    def run(self) -> None:
        one, told = self.scene.known[0], ", ".join(self.scene.known)
        for method, case in CALLS[self.name].items():
            self._begin()
            before = len(self.scene.server.requests)
            self._call(WELL_DONE, method, case, *self.well)
            if len(self.scene.server.requests) == before:
                continue  # it sends nothing, and no fault reaches it
            for fault, make_answer in FAULTS.items():
                # Twice: with a new token or connection it is tried once more.
                self._call(fault, method, case, *(make_answer(one, told) for _ in range(2)))
            self._begin()
            self._call(NEW_COOKIES, method, case, Fault(headers={"set-cookie": SET_COOKIES}))
            self._begin()
            self._call("the time is over", method, case, Fault(delay=0.3), is_hasty=True)
            for option in ("on_progress", "on_conversation_response"):
                if takes(self.name, method, option) and option not in self.scene.foreign:
                    given = {option: _fail}
                    self._call("a callback raises", method, case, *self.well, given=given)
            if takes(self.name, method, "abort"):
                token = CancelToken()
                timer = threading.Timer(0.02, token.cancel)
                timer.start()
                slow = Fault(delay=0.3)
                self._call("stopped by a CancelToken", method, case, slow, given={"abort": token})
                timer.join()
        self.watch.search.value(f"the client, {self.kind}", self.scene.client)
        for request in self.scene.server.requests:
            self.watch.search.request(
                self.kind, request.path, request.headers, request.body, self._meant()
            )

    def _begin(self) -> None:
        """The session may have been ended, and the conversation deleted, by what was tried before."""
        if self.name.startswith(("ChatGPTSession", "Web")):
            self.scene.begin()
        self.scene.server.clear_faults()

    def _call(
        self,
        what: str,
        method: str,
        case: Case,
        *answer: Fault | RawAnswer,
        given: Mapping[str, object] | None = None,
        is_hasty: bool = False,
    ) -> None:
        scene = self.scene
        scene.server.clear_faults()
        scene.server.inject(*answer)
        client = scene.hasty if is_hasty else scene.client
        callee = client.conversation(**scene.place) if "Conversation" in self.name else client
        where = f"{self.kind}, {method}, {what}"
        brought = self.watch.of(where, lambda: case(scene, callee, given or {}))
        self.tried[what] += 1
        if isinstance(brought, BaseException):
            self.failed.setdefault(what, {})[method] = type(brought).__name__

    def _meant(self) -> Mapping[str, set[str]]:
        if "behind" not in self.kind:
            return self.scene.meant
        # In base64, so that no name is in it; that it is there at all is the proxy's right.
        return {**self.scene.meant, "proxy-authorization": set()}


def _fail(_: object) -> None:
    raise LookupError("mine")


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_and_every_outcome(
    kind: str, engine: Engine, server: ChatGPTServer, watch: Watch, report: Report
) -> None:
    outcomes = _Outcomes(kind, engine, server, watch)
    outcomes.run()
    watch.finish()
    for what, cases in outcomes.tried.items():
        report.tried(GROUP, _ROW_OF.get(what, what), engine.name, SEEN, cases=cases)
    # The faults did what they are for.
    if not outcomes.well:
        assert outcomes.failed.get(WELL_DONE, {}) == UNDONE.get(outcomes.name, {})
    for fault in (*FAULTS, "the time is over"):
        assert outcomes.failed.get(fault), fault
    if "a callback raises" in outcomes.tried:
        assert "LookupError" in outcomes.failed["a callback raises"].values()
    if "stopped by a CancelToken" in outcomes.tried:
        stopped = outcomes.failed["stopped by a CancelToken"]
        assert {*stopped.values()} == {AbortedError.__name__}
