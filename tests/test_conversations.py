"""One table of conversations on three engines: whatever can be seen of them is the same.

A case is a function that plays a scene. It is played on every engine, each with a server of its own,
and everything is compared: the requests on the wire, replies, progress, stored messages, the types
and the texts of errors. The recordings are cases, too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from chatgpt import ChatMessage, MemoryStore
from chatgpt.testing import Answer, Fault, RawAnswer
from tests.engines import Engine
from tests.recordings import CAPTURES, GOLDEN, TEXT_GOLDEN, capture, golden
from tests.scenes import Scene, Table
from tests.test_golden import OPTIONS, ORIGINAL_PARAMS, ORIGINAL_SYSTEM_MESSAGE, defined, raw_answer

TABLE = Table()
case, cases = TABLE.case, TABLE.variants


# --- threads -----------------------------------------------------------------------------------


@case
def a_thread(scene: Scene) -> None:
    first = scene.send("What is a monad?")
    second = scene.send("Shorter.", parent_message_id=first.id)
    scene.take_down(lambda: scene.client.thread(second.id))


@case
def branches(scene: Scene) -> None:
    first = scene.progress("Name a colour.", system_message="You are terse.")
    warmer = scene.stream("A warmer one.", parent_message_id=first.id)
    colder = scene.send("A colder one.", parent_message_id=first.id, stream=True)
    for reply in (warmer, colder):
        scene.take_down(lambda reply=reply: scene.client.thread(reply.id))  # type: ignore[misc] # it is called at once


@case
def every_option(scene: Scene) -> None:
    scene.use(
        api_org="org-1",
        api_project="p-1",
        model="gpt-4o",
        completion_params={"temperature": 0.5, "seed": 7},
        system_message="Be brief.",
        max_model_tokens=8_000,
        max_response_tokens=500,
        headers={"X-Title": "t"},
    )
    scene.progress(
        "Grüße 你好 👋",
        conversation_id="c-1",
        message_id="m-1",
        name="ada",
        system_message="",
        completion_params={"seed": None, "stop": ["END"]},
        timeout=30,
    )


@case
def an_unknown_parent(scene: Scene) -> None:
    scene.send("hi", parent_message_id="nowhere")


@case
def an_unknown_thread(scene: Scene) -> None:
    scene.take_down(lambda: scene.client.thread("nowhere"))


@case
def a_message_id_that_is_stored(scene: Scene) -> None:
    scene.send("hi", message_id="m-1")
    scene.send("hi", message_id="m-1")


@case
def an_id_that_the_server_repeats(scene: Scene) -> None:
    scene.server.replies = lambda _: Answer(text="Hello!", id="chatcmpl-same")
    first = scene.send("hi")
    scene.progress("again", parent_message_id=first.id)


@case
def a_thread_that_is_too_long(scene: Scene) -> None:
    """What is left out is counted, and the counts are stored."""
    scene.use(max_model_tokens=150, max_response_tokens=50, system_message="Be brief.")
    parent = None
    for number in range(5):
        parent = scene.send(f"{number} " + "word " * 20, parent_message_id=parent).id


@case
def a_message_that_is_too_long(scene: Scene) -> None:
    scene.use(max_model_tokens=60, max_response_tokens=20)
    scene.send("word " * 100)


@case
def a_tokenizer_of_the_caller(scene: Scene) -> None:
    scene.use(tokenizer=lambda text: len(text.split()))
    first = scene.send("one two three")
    scene.send("four", parent_message_id=first.id)


@case
def usage_that_the_server_does_not_tell(scene: Scene) -> None:
    scene.server.replies = [Answer(text="Hello there!", has_usage=False)] * 2
    scene.send("hi")
    scene.stream("hi")


@case
def reasoning(scene: Scene) -> None:
    scene.server.replies = [Answer(text="42", reasoning="six by seven", finish_reason="length")] * 2
    scene.send("hi")
    scene.progress("hi")


@case
def a_chat_that_moves_about_in_its_tree(scene: Scene) -> None:
    chat = scene.client.conversation(system_message="Be brief.")
    first = scene.take_down(lambda: chat.send("one", name="ada"))
    second = scene.take_down(lambda: chat.send("two"))
    scene.take_down(lambda: chat.regenerate(on_progress=lambda part: scene.note("part", part)))
    scene.take_down(lambda: chat.edit(second.parent_message_id or "", "zwei"))
    scene.take_down(lambda: scene.client.branches(first.id))
    other = chat.branch()
    scene.take_down(other.undo)
    scene.take_down(lambda: other.send("drei"))
    scene.attempt(lambda: scene.take_down(lambda: chat.edit(first.id, "not mine")))
    scene.attempt(lambda: scene.take_down(chat.continue_reply))
    scene.take_down(chat.history)
    scene.take_down(other.history)


@case
def a_reply_that_is_gone_on_with(scene: Scene) -> None:
    scene.server.replies = [Answer(text="Once upon", finish_reason="length"), " a time.", "x"]
    chat = scene.client.conversation()
    scene.take_down(lambda: chat.send("A story."))
    scene.take_down(lambda: chat.continue_reply(on_progress=lambda part: scene.note("part", part)))
    scene.take_down(chat.history)


@case
def a_preview(scene: Scene) -> None:
    scene.use(max_model_tokens=150, max_response_tokens=50, system_message="Be brief.")
    parent = None
    for number in range(3):
        parent = scene.send(f"{number} " + "word " * 20, parent_message_id=parent).id
    scene.take_down(lambda: scene.client.preview("And now?", parent_message_id=parent))
    scene.take_down(lambda: scene.client.preview("word " * 100))


@case
def text_completions(scene: Scene) -> None:
    scene.use(model="davinci-002", user_label="Human", assistant_label="Bot")
    first = scene.send("one")
    scene.progress("two", parent_message_id=first.id, prompt_prefix="PRE\n", prompt_suffix="\nSUF")
    scene.stream("three", parent_message_id=first.id, system_message="")


@cases(
    "refused",
    {
        "one-by-one": ["max_tokens", "temperature", "stream_options"],
        "stream": ["stream"],
        "what-nobody-can-do-without": ["messages"],
    },
)
def parameters_that_the_server_refuses(scene: Scene, names: list[str]) -> None:
    scene.server.refused_parameters = names
    params = {"model": "llama3.1", "max_tokens": 50, "temperature": 0.3}
    first = scene.progress("one", completion_params=params)
    scene.stream("two", completion_params=params, parent_message_id=first.id)
    scene.send("three", completion_params=params, parent_message_id=first.id)


@case
def a_window_that_only_the_server_knows(scene: Scene) -> None:
    scene.use(model="llama3.1", system_message="Be brief.")
    parent = None
    for number in range(5):
        parent = scene.send(f"{number} " + "word " * 20, parent_message_id=parent).id
    scene.server.context_length = 120
    scene.progress("And now?", parent_message_id=parent)
    scene.send("word " * 200)


@case
def moderation(scene: Scene) -> None:
    scene.server.moderate = lambda text: {"violence": 0.9 if "kill" in text else 0.1}
    scene.take_down(lambda: scene.client.send_moderation("kill"))
    scene.take_down(lambda: scene.client.send_moderation("kiss", model="m"))
    scene.server.inject(Fault(status=500))
    scene.take_down(lambda: scene.client.send_moderation("kill"))


@cases(
    "bad",
    {
        "type": {"text": 5},
        "text": {"text": ""},
        "surrogate": {"text": "\ud800"},
        "timeout": {"text": "hi", "timeout": -1},
        "parent": {"text": "hi", "parent_message_id": " "},
        "params": {"text": "hi", "completion_params": {"x": {1}}},
        "stream": {"text": "hi", "stream": "yes"},
        "progress": {"text": "hi", "on_progress": "print"},
    },
)
def a_bad_option(scene: Scene, options: dict[str, Any]) -> None:
    scene.take_down(lambda: scene.client.send_message(**options))


# --- stores and functions -----------------------------------------------------------------------


@case
def two_functions(scene: Scene) -> None:
    messages: dict[str, ChatMessage] = {}

    def upsert(message: ChatMessage) -> None:
        scene.note("upsert", message)
        messages[message.id] = message

    scene.use(get_message_by_id=messages.get, upsert_message=upsert)
    first = scene.send("hi")
    scene.send("again", parent_message_id=first.id)
    scene.take_down(lambda: scene.client.thread(first.id))


@cases("one-function", {"get": "get_message_by_id", "upsert": "upsert_message"})
def one_function(scene: Scene, name: str) -> None:
    scene.use(**{name: lambda given: scene.note(name, given)})
    first = scene.send("hi")
    scene.send("again", parent_message_id=first.id)


@case
def a_store_of_plain_methods(scene: Scene) -> None:
    store = MemoryStore()
    scene.use(message_store=store)
    first = scene.send("hi")
    scene.progress("again", parent_message_id=first.id)
    scene.note("in the store", list(store._messages.values()))


@case
def a_function_that_returns_something_else(scene: Scene) -> None:
    scene.use(get_message_by_id=lambda _: {"id": "x"})
    scene.send("hi", parent_message_id="x")


@cases("own-error", {"runtime": RuntimeError("mine"), "os": OSError("mine"), "lookup": KeyError(1)})
def errors_of_the_callers_functions(scene: Scene, error: Exception) -> None:
    def failing(_: object) -> None:
        raise error

    scene.attempt(lambda: scene.send("hi", on_progress=failing))
    scene.use(upsert_message=failing)
    scene.attempt(lambda: scene.send("hi"))
    scene.use(get_message_by_id=failing)
    scene.attempt(lambda: scene.send("hi", parent_message_id="x"))


# --- streams -----------------------------------------------------------------------------------


@case
def a_stream_that_is_left_early(scene: Scene) -> None:
    scene.server.replies = [Answer(parts=["word "] * 50), "fine"]
    scene.server.inject(Fault(part_delay=0.002))
    scene.attempt(lambda: scene.stream("hi", most=3))
    scene.send("still there?")


@case
def a_stream_that_is_not_read(scene: Scene) -> None:
    def play() -> object:
        with scene.client.stream_message("hi") as stream:
            scene.note(repr(stream))
            return stream.result()

    scene.take_down(play)


@case
def a_stream_that_is_over(scene: Scene) -> None:
    with scene.client.stream_message("hi") as stream:
        scene.note([*stream], [*stream], repr(stream))
    scene.note(stream.result(), [*stream])


@case
def a_stream_that_was_left(scene: Scene) -> None:
    with scene.client.stream_message("hi") as stream:
        next(stream)
    scene.take_down(lambda: list(stream))


# --- faults ------------------------------------------------------------------------------------

TEXT = "Grüße 你好 👋🏽 \u2028 end"

FAULTS = {
    "none": Fault(),
    "bytes": Fault(split_every=1),
    "bytes-gzip": Fault(gzip=True, split_every=1),
    "crlf": Fault(split_every=3, crlf=True),
    "gzip": Fault(gzip=True),
    "close": Fault(framing="close"),
    "close-bytes": Fault(framing="close", split_every=5),
    "close-gzip": Fault(framing="close", gzip=True),
    "length": Fault(framing="length"),
    "length-gzip": Fault(framing="length", gzip=True, split_every=7),
    "no-done": Fault(omit_done=True),
    "stay-open": Fault(stay_open=1),
    "cut": Fault(cut_after=900),
    "cut-reset": Fault(cut_after=900, reset=True),
    "cut-close": Fault(cut_after=900, framing="close"),
    "cut-length": Fault(cut_after=900, framing="length"),
    "cut-gzip": Fault(cut_after=279, gzip=True),
    "cut-at-once": Fault(cut_after=0),
    "cut-early": Fault(cut_after=10),
    "reset": Fault(reset=True),
    "error-in-stream": Fault(error_after=2),
    "error-at-once": Fault(error_after=0),
    "redirect": Fault(status=307, headers={"location": "http://elsewhere/v1"}),
    "error-headers": Fault(status=400, headers={"x-request-id": "r-1", "retry-after": "7"}),
    "error-gzip": Fault(status=400, gzip=True),
    "error-html": Fault(status=502, body="<html><title>Bad gateway</title></html>"),
    "error-empty": Fault(status=500, body=""),
    "error-cut": Fault(status=500, cut_after=5),
    "html": Fault(status=200, body="<html><title>Log in</title></html>"),
    "empty": Fault(status=200, body=""),
    "no-content": Fault(status=204, body=""),
    "json-error": Fault(status=200, body='{"error": {"message": "boom", "code": 7}}'),
    "plain": Fault(status=200, body="plain text"),
    "key": Fault(status=401, body='{"error": {"message": "Wrong key: sk-test"}}'),
    **{
        str(status): Fault(status=status)
        for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)
    },
}


@cases("fault", FAULTS)
def a_fault(scene: Scene, fault: Fault) -> None:
    # With an id of its own, so that a cut falls into the same place each time.
    scene.server.replies = [Answer(text=TEXT, id="chatcmpl-1"), Answer(text=TEXT, id="chatcmpl-2")]
    scene.server.inject(fault, fault)
    scene.in_both_ways()


@cases(
    "malformed",
    {
        "chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
        "negative-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nabc",
        "gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        "lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        "status-line": b"what is this\r\n\r\n",
        "nothing": b"",
        "no-reason": b"HTTP/1.1 500\r\ncontent-length: 0\r\n\r\n",
        "odd-reason": b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n",
        "utf-8-head": "HTTP/1.1 429 überlastet\r\nx-request-id: ü-1\r\ncontent-length: 0\r\n\r\n".encode(),
        "latin-1-head": "HTTP/1.1 429 überlastet\r\nx-request-id: ü-1\r\ncontent-length: 0\r\n\r\n".encode(
            "latin-1"
        ),
    },
)
def malformed(scene: Scene, raw: bytes) -> None:
    scene.server.replies = [RawAnswer([raw])] * 2
    scene.in_both_ways()


RETRIED = {
    "429": Fault(status=429, headers={"retry-after-ms": "5"}),
    "503-date": Fault(status=503, headers={"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    "409-told": Fault(status=409, headers={"retry-after": "0.01", "x-should-retry": "true"}),
    "400-told": Fault(status=400, headers={"retry-after": "0.01", "x-should-retry": "true"}),
    "503-told-not": Fault(status=503, headers={"x-should-retry": "false"}),
    "quota": Fault(status=429, body='{"error": {"code": "insufficient_quota", "message": "x"}}'),
    "reset": Fault(reset=True),
    "cut": Fault(status=429, headers={"retry-after-ms": "5"}, cut_after=3),
}


@cases("retried", RETRIED)
def retried(scene: Scene, fault: Fault) -> None:
    scene.use(max_retries=1)
    scene.server.inject(fault)
    scene.attempt(lambda: scene.send("hi"))
    scene.server.inject(fault, fault)
    scene.attempt(lambda: scene.progress("hi"))


LIMITS: dict[str, tuple[Fault, dict[str, float]]] = {
    "total-head": (Fault(delay=5), {"timeout": 0.4}),
    "total-body": (Fault(part_delay=5), {"timeout": 0.4}),
    "total-drip": (Fault(split_every=1, part_delay=0.05), {"timeout": 0.4}),
    "idle-head": (Fault(delay=5), {"idle_timeout": 0.4}),
    "idle-body": (Fault(part_delay=5), {"idle_timeout": 0.4}),
    "retry-after": (Fault(status=429, headers={"retry-after": "60"}), {"timeout": 1}),
}


@cases("limit", LIMITS)
def a_limit(scene: Scene, given: tuple[Fault, dict[str, float]]) -> None:
    fault, options = given
    scene.use(**options)
    scene.server.inject(fault)
    scene.stream("hi")


SILENT = {
    "tls": lambda port: {"api_base_url": f"https://127.0.0.1:{port}/v1"},
    "connect": lambda port: {
        "api_base_url": "https://chat.example/v1",
        "proxy": f"http://127.0.0.1:{port}",
    },
    "socks": lambda port: {
        "api_base_url": "http://chat.example/v1",
        "proxy": f"socks5://127.0.0.1:{port}",
    },
}


@cases("silent", SILENT)
def nobody_answers_while_connecting(scene: Scene, options: Callable[[int], dict[str, Any]]) -> None:
    """Whatever has to be said before the request belongs to the connecting, and is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        scene.use(**options(port), connect_timeout=0.2, timeout=5, max_retries=1)
        scene.send("hi")


@case
def a_call_while_an_error_is_handled(scene: Scene) -> None:
    """The caller's own error is none of the call's, and stays as it was."""
    scene.use(api_base_url="http://127.0.0.1:9", max_retries=0)
    try:
        open("/no/such/file")  # noqa: PTH123, SIM115 - it is to fail
    except FileNotFoundError as own:
        scene.attempt(lambda: scene.send("hi"))
        scene.note("own", str(own), own.__traceback__ is not None, own.__context__ is None)


@case
def no_server(scene: Scene) -> None:
    scene.use(api_base_url="http://127.0.0.1:9", max_retries=0)
    scene.send("hi")


@case
def no_server_at_two_addresses(scene: Scene) -> None:
    scene.use(api_base_url="http://localhost:9", max_retries=0)
    scene.send("hi")


@case
def no_such_host(scene: Scene) -> None:
    scene.use(api_base_url="http://nowhere.invalid/v1", max_retries=0)
    scene.send("hi")


@case
def a_proxy_that_is_down(scene: Scene) -> None:
    for url in ("http://chat.example/v1", "https://chat.example/v1"):
        scene.use(api_base_url=url, proxy="http://127.0.0.1:9", max_retries=0)
        scene.attempt(lambda: scene.send("hi"))


@case
def a_proxy_that_refuses(scene: Scene) -> None:
    """The server knows no CONNECT, and answers to whole URLs with 404."""
    proxy = scene.server.base_url.removesuffix("/v1")
    for url in ("http://chat.example/v1", "https://chat.example/v1"):
        scene.use(api_base_url=url, proxy=proxy, max_retries=0)
        scene.attempt(lambda: scene.send("hi"))


@case
def a_proxy_for_socks(scene: Scene) -> None:
    scene.use(api_base_url="http://chat.example/v1", proxy="socks5://127.0.0.1:9")
    scene.send("hi")


@case
def tls_where_none_is_spoken(scene: Scene) -> None:
    scene.use(api_base_url=scene.server.base_url.replace("http:", "https:"), max_retries=0)
    scene.send("hi")


# --- the recordings ----------------------------------------------------------------------------


@cases(
    "golden", {name: name for name in GOLDEN if any("method" in c for c in golden(name)["calls"])}
)
def a_golden_case(scene: Scene, name: str) -> None:
    recorded = golden(name)
    scene.server.replies = [
        raw_answer(request["answered_with"]) for request in recorded["requests"]
    ]
    options = recorded["construct"][0]["opts"]
    scene.use(
        api_key="sk-test",
        api_org=options.get("apiOrg"),
        completion_params={**ORIGINAL_PARAMS, **defined(options.get("completionParams", {}))},
        system_message=options.get("systemMessage", ORIGINAL_SYSTEM_MESSAGE) or "",
        max_model_tokens=options.get("maxModelTokens", 4000),
        max_response_tokens=options.get("maxResponseTokens", 1000),
        max_retries=0,
    )
    for call in recorded["calls"]:
        if "method" not in call:
            continue
        text, given = (*call["args"], {})[:2]
        given = {OPTIONS[key]: value for key, value in given.items() if key in OPTIONS}
        scene.attempt(lambda text=text, given=given: scene.progress(text, **given))  # type: ignore[misc] # it is called at once


@cases("golden-text", {name: name for name in TEXT_GOLDEN})
def a_golden_case_of_text(scene: Scene, name: str) -> None:
    recorded = golden(name)
    scene.server.inject(*(raw_answer(request["answered_with"]) for request in recorded["requests"]))
    options = recorded["construct"][0]["opts"]
    params = {"model": "text-davinci-003", **options.get("completionParams", {})}
    scene.use(
        completion_params=params,
        user_label=options.get("userLabel"),
        assistant_label=options.get("assistantLabel"),
        max_model_tokens=options.get("maxModelTokens"),
        max_response_tokens=options.get("maxResponseTokens"),
        max_retries=0,
    )
    for call in recorded["calls"]:
        text, given = (*call["args"], {})[:2]
        given = {OPTIONS[key]: value for key, value in given.items() if key in OPTIONS}
        scene.attempt(lambda text=text, given=given: scene.progress(text, **given))  # type: ignore[misc] # it is called at once


@cases("capture", {name: name for name in CAPTURES})
def a_capture(scene: Scene, name: str) -> None:
    scene.server.replies = [RawAnswer([capture(name)])] * 2
    scene.in_both_ways()


# --- playing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE.cases)
def test_a_case_is_the_same_on_every_engine(engines: dict[str, Engine], name: str) -> None:
    assert len(TABLE.play(engines, name)) > 2, "something was seen"


def test_the_cases_give_replies_errors_and_parts() -> None:
    """A table whose cases all failed alike would show nothing."""
    kinds = TABLE.count_kinds()
    assert kinds["result"] > 100
    assert kinds["error"] > 100
    assert kinds["part"] > 200
    stored = [line for log in TABLE.played.values() for line in log if line != ["stored", []]]
    assert sum(isinstance(line, list) and line[0] == "stored" for line in stored) > 60
