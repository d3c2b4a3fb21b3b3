"""Both clients of the web flow against the loopback server, in both twins and on all engines."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import time
from typing import Any

import pytest

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BlockedByCloudflareError,
    ChatGPTAPI,
    ChatGPTError,
    ChatGPTSessionAPI,
    ChatGPTUnofficialProxyAPI,
    ChatMessage,
    ConfigurationError,
    NotFoundError,
    RateLimitError,
    Secret,
    StreamError,
    StreamInterruptedError,
)
from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.engines import Engine

DIALECTS = ["snapshots", "deltas"]
EXPIRED = '{"detail": {"message": "Your token has expired", "code": "token_expired"}}'


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest, chatgpt_server: ChatGPTServer) -> str:
    chatgpt_server.web.dialect = request.param
    return chatgpt_server.web.dialect


@pytest.fixture
def proxy(engine: Engine, chatgpt_server: ChatGPTServer) -> ChatGPTUnofficialProxyAPI:
    return engine.proxy_client(**chatgpt_server.proxy_options)


@pytest.fixture
def session(engine: Engine, chatgpt_server: ChatGPTServer) -> ChatGPTSessionAPI:
    return engine.session_client(**chatgpt_server.session_options)


def paths(server: ChatGPTServer) -> list[str]:
    return [request.path for request in server.requests]


# --- talking ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("dialect")
def test_a_conversation_through_the_proxy(proxy: ChatGPTUnofficialProxyAPI) -> None:
    first = proxy.send_message("One")
    assert "first message" in first.text
    second = proxy.send_message("Two", parent_message_id=first.id, conversation_id=first.conversation_id)  # fmt: skip
    assert "message 2 of our conversation; it began with: One" in second.text
    assert second.conversation_id == first.conversation_id
    assert (second.finish_reason, second.model, second.role) == ("stop", "auto", "assistant")


@pytest.mark.usefixtures("dialect")
def test_progress_and_raw_events(session: ChatGPTSessionAPI) -> None:
    parts: list[ChatMessage] = []
    raw: list[Any] = []
    reply = session.send_message("Hi", on_progress=parts.append, on_conversation_response=raw.append)  # fmt: skip
    assert "".join(part.delta or "" for part in parts) == reply.text
    assert {part.id for part in parts} == {reply.id}
    assert len(raw) > len(parts)
    assert all(isinstance(event, dict) for event in raw)


@pytest.mark.usefixtures("dialect")
def test_a_stream(proxy: ChatGPTUnofficialProxyAPI) -> None:
    raw: list[Any] = []
    with proxy.stream_message("Hi", on_conversation_response=raw.append) as stream:
        text = "".join(part.delta or "" for part in stream)
    assert stream.result().text == text
    assert raw


@pytest.mark.usefixtures("dialect")
def test_a_chat_that_keeps_its_ids(session: ChatGPTSessionAPI, proxy: Any) -> None:
    for client in (session, proxy):
        chat = client.conversation()
        assert (chat.conversation_id, chat.parent_message_id) == (None, None)
        first = chat.send("One")
        assert (chat.conversation_id, chat.parent_message_id) == (first.conversation_id, first.id)
        with chat.stream("Two") as stream:
            for _ in stream:
                assert chat.parent_message_id == first.id
        assert chat.parent_message_id == stream.result().id
        assert "message 3" in chat.send("Three").text
        assert str(chat.conversation_id) in repr(chat)


def test_a_chat_stays_where_it_was_after_a_failure(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    chat = session.conversation()
    first = chat.send("One")
    chatgpt_server.inject(Fault(status=500))
    with pytest.raises(ChatGPTError):
        chat.send("Two")
    with chat.stream("Two") as stream:
        next(stream)
    assert chat.parent_message_id == first.id
    assert "message 2" in chat.send("Two again").text


def test_a_chat_goes_on_with_a_conversation(session: ChatGPTSessionAPI) -> None:
    first = session.send_message("One")
    chat = session.conversation(conversation_id=first.conversation_id)
    assert "message 2" in chat.send("Two").text
    branch = session.conversation(conversation_id=first.conversation_id, parent_message_id=first.id)
    assert "message 2" in branch.send("Another two").text


def test_thoughts_are_no_part_of_the_reply(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer, dialect: str
) -> None:
    chatgpt_server.replies = [Answer(text="Four.", reasoning="two and two")]
    parts: list[ChatMessage] = []
    assert session.send_message("2+2?", on_progress=parts.append).text == "Four."
    assert parts[0].text == "Four."


@pytest.mark.usefixtures("dialect")
def test_long_replies_and_limits(session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [Answer(parts=["😀"] * 500, finish_reason="length")]
    reply = session.send_message("Go on")
    assert (reply.text, reply.finish_reason) == ("😀" * 500, "length")


def test_ids_are_checked_before_a_chat_begins(session: Any, proxy: Any) -> None:
    wrong: Any
    for client in (session, proxy):
        for wrong in (5, "nope"):
            with pytest.raises((TypeError, ValueError), match="conversation_id must be"):
                client.conversation(conversation_id=wrong)
    with pytest.raises(ValueError, match="parent_message_id is missing"):
        proxy.conversation(conversation_id="67aa804e-4678-8006-970a-23d76d933f3c")


@pytest.mark.parametrize("is_left", [True, False])
def test_a_listing_can_be_left(session: ChatGPTSessionAPI, is_left: bool) -> None:
    """Nothing stays open: not even a warning comes when it is forgotten."""
    for number in range(3):
        session.send_message(str(number))
    titles = []
    for summary in session.list_conversations(page_size=1):
        titles.append(summary.title)
        if is_left:
            break
    gc.collect()
    assert len(titles) == (1 if is_left else 3)


@pytest.mark.usefixtures("dialect")
def test_a_reply_that_is_taken_back(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = lambda _: "bad words"
    chatgpt_server.web.is_blocked = lambda text: "bad" in text
    with pytest.raises(StreamError, match="moderation blocked the reply") as caught:
        session.send_message("Hi")
    assert (caught.value.code, caught.value.partial) == ("moderation_blocked", "bad words")


def test_a_variant(session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer) -> None:
    first = session.send_message("One")
    second = session.send_message("Two", parent_message_id=first.id, conversation_id=first.conversation_id)  # fmt: skip
    again = session.send_message(
        "Two", action="variant", message_id=second.parent_message_id,
        parent_message_id=first.id, conversation_id=first.conversation_id,
    )  # fmt: skip
    assert again.parent_message_id == second.parent_message_id
    assert again.id != second.id
    sent = [request.json["action"] for request in chatgpt_server.requests if request.body]
    assert sent == ["next", "next", "variant"]


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.usefixtures("dialect")
@pytest.mark.parametrize(
    ("fault", "kind", "is_begun"),
    [
        (Fault(error_after=8), StreamError, True),
        (Fault(omit_done=True, cut_after=2500), StreamInterruptedError, True),
        (Fault(cut_after=2500, reset=True), StreamInterruptedError, True),
        (Fault(status=429, body='{"detail": "Too many requests in 1 hour. Try again later."}'), RateLimitError, False),
        (Fault(status=404, body='{"detail": "Conversation not found"}'), NotFoundError, False),
        (Fault(status=200, body='{"error": "Rate limited by proxy"}'), StreamError, False),
        (Fault(reset=True), APIConnectionError, False),
        (Fault(delay=1.0), APITimeoutError, False),
    ],
)  # fmt: skip
def test_faults(
    proxy: ChatGPTUnofficialProxyAPI, chatgpt_server: ChatGPTServer, fault: Fault,
    kind: type[ChatGPTError], is_begun: bool,
) -> None:  # fmt: skip
    chatgpt_server.inject(fault)
    before = len(chatgpt_server.requests)
    with pytest.raises(kind) as caught:
        proxy.send_message("Hi", timeout=0.5 if fault.delay else 30)
    assert len(chatgpt_server.requests) == before + 1, "a message is sent once"
    partial = caught.value.partial or ""
    assert "You said: Hi That is the first message of our conversation.".startswith(partial)
    assert bool(partial) == is_begun


@pytest.mark.usefixtures("dialect")
@pytest.mark.parametrize(
    "fault",
    [Fault(split_every=1), Fault(gzip=True), Fault(crlf=True), Fault(framing="close"), Fault(omit_done=True)],
)  # fmt: skip
def test_whatever_the_framing(
    proxy: ChatGPTUnofficialProxyAPI, chatgpt_server: ChatGPTServer, fault: Fault
) -> None:
    chatgpt_server.replies = ["Grüße 你好 👋"]
    chatgpt_server.inject(fault)
    assert proxy.send_message("Hi").text == "Grüße 你好 👋"


def test_a_stream_that_is_left(
    proxy: ChatGPTUnofficialProxyAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = lambda _: Answer(parts=["x"] * 200)
    chatgpt_server.inject(Fault(part_delay=0.01))
    with proxy.stream_message("Hi") as stream:
        next(stream)
    deadline = time.monotonic() + 2
    while not chatgpt_server.requests[0].is_disconnected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert chatgpt_server.requests[0].is_disconnected
    assert proxy.send_message("again").text


def test_functions_that_raise(session: ChatGPTSessionAPI) -> None:
    def fail(_: object) -> None:
        raise LookupError("mine")

    for name in ("on_progress", "on_conversation_response"):
        given: Any = {name: fail}
        with pytest.raises(LookupError, match="mine"):
            session.send_message("Hi", **given)
    assert session.send_message("Hi").text


def test_cloudflares_page(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    client = engine.session_client(**{**chatgpt_server.session_options, "clearance_token": "old"})
    with pytest.raises(BlockedByCloudflareError, match="Just a moment") as caught:
        client.send_message("Hi")
    assert "\n" not in str(caught.value)
    assert not client.get_is_authenticated()


# --- sessions --------------------------------------------------------------------------------


def test_a_session(session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer) -> None:
    users = [session.user]
    session.init_session()
    users.append(session.user)
    assert [user and user["email"] for user in users] == [None, "tester@example.com"]
    assert session.get_is_authenticated()
    token = session.refresh_session()
    assert isinstance(token, Secret)
    assert paths(chatgpt_server) == ["/api/auth/session"]
    assert session.reset_session() != token
    session.close_session()
    assert session.user is not None
    assert session.get_is_authenticated()
    assert len(chatgpt_server.requests) == 3
    assert session.session_token.reveal() == chatgpt_server.web.session_token
    assert session.clearance_token.reveal() == chatgpt_server.web.clearance_token
    assert session.user_agent.startswith("Mozilla/5.0")


def test_a_session_that_was_signed_out(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    assert session.send_message("Hi").text
    chatgpt_server.web.sign_out()
    assert session.send_message("Hi").text, "the access token is good for a while"
    chatgpt_server.web.expire_access_tokens()
    with pytest.raises(AuthenticationError, match="Nobody is signed in"):
        session.send_message("Hi")
    assert not session.get_is_authenticated()


def test_a_token_that_expires(session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer) -> None:
    session.send_message("Hi")
    chatgpt_server.web.expire_access_tokens()
    assert session.send_message("Hi").text
    assert paths(chatgpt_server) == [
        "/api/auth/session",
        "/backend-api/conversation",
        "/backend-api/conversation",
        "/api/auth/session",
        "/backend-api/conversation",
    ]


def test_the_conversations_on_the_server(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    first, second = session.send_message("One"), session.send_message("Two")
    identifier = str(first.conversation_id)
    session.set_title(identifier, "Neu 🙂")
    listing = session.list_conversations(page_size=1)
    assert paths(chatgpt_server)[-1].startswith("/backend-api/conversation/"), "nothing is read yet"
    assert [(item.id, item.title) for item in listing] == [
        (second.conversation_id, "New chat"),
        (identifier, "Neu 🙂"),
    ]
    record = session.get_conversation(identifier)
    assert [(m.role, m.text) for m in record.messages] == [
        ("user", "One"),
        ("assistant", first.text),
    ]
    assert record.current_message_id == first.id
    assert record.messages[1].parent_message_id == record.messages[0].id
    assert session.generate_title(identifier, first.id) == "About 'One'"
    session.archive(identifier)
    assert [item.id for item in session.list_conversations()] == [second.conversation_id]
    assert [item.id for item in session.list_conversations(is_archived=True)] == [identifier]
    session.archive(identifier, is_archived=False)
    result = session.send_feedback(identifier, first.id, "thumbsDown", tags=["false"], text="no")
    assert result["rating"] == "thumbsDown"
    assert chatgpt_server.web.feedback[0]["tags"] == ["false"]
    session.delete_conversation(identifier)
    with pytest.raises(NotFoundError, match="Conversation not found"):
        session.get_conversation(identifier)
    with pytest.raises(ValueError, match="page_size must be at most 100"):
        session.list_conversations(page_size=101)


def test_moderation(session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.moderate = lambda text: {"hate": 0.9 if "hate" in text else 0.0}
    assert session.send_moderation("I hate it")["flagged"] is True
    assert session.send_moderation("nice")["flagged"] is False
    with pytest.raises(ValueError, match="text must not be empty"):
        session.send_moderation("")


def test_plain_text(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = lambda _: "# Title\n\nSome **bold** text."
    client = engine.session_client(**chatgpt_server.session_options, markdown=False)
    assert client.send_message("Hi").text == "Title\n\nSome bold text.\n"


def test_cookies_go_to_the_configured_origins_alone(
    engine: Engine, chatgpt_server: ChatGPTServer
) -> None:
    """A redirect is not followed, and what a server sets is not kept."""
    client = engine.session_client(**chatgpt_server.session_options, max_retries=0)
    with ChatGPTServer() as elsewhere:
        location = {"location": f"{elsewhere.base_url}/x", "set-cookie": "a=b; Path=/"}
        chatgpt_server.inject(Fault(status=307, headers=location), Fault(headers=location))
        with pytest.raises(ChatGPTError, match="redirects are not followed"):
            client.init_session()
        client.init_session()
        client.send_message("Hi")
        assert elsewhere.requests == []
    cookies = [request.headers.get("cookie") for request in chatgpt_server.requests]
    both = "cf_clearance=clearance-test; __Secure-next-auth.session-token=session-test"
    assert cookies == [both, both, "cf_clearance=clearance-test"]


# --- as an object ----------------------------------------------------------------------------


def test_what_it_shows(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    client = engine.proxy_client(**chatgpt_server.proxy_options, model="gpt-4o")
    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    assert repr(client) == f"<ChatGPTUnofficialProxyAPI, gpt-4o at {url}>"
    other = engine.session_client(**chatgpt_server.session_options)
    assert repr(other) == f"<ChatGPTSessionAPI, auto at {url}>"
    assert repr(object.__new__(ChatGPTSessionAPI)) == "<ChatGPTSessionAPI that was not made>"


def test_it_pickles_as_its_configuration(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = chatgpt_server.session_options
    client = ChatGPTSessionAPI(**options, access_token="access-canary", access_token_ttl=5)
    pickled = pickle.dumps(client)
    for secret in (options["session_token"], options["clearance_token"], "access-canary"):
        assert secret.encode() not in pickled
    with pytest.raises(ConfigurationError, match="set OPENAI_CLEARANCE_TOKEN in the environment"):
        pickle.loads(pickled).init_session()
    monkeypatch.setenv("OPENAI_SESSION_TOKEN", options["session_token"])
    monkeypatch.setenv("OPENAI_CLEARANCE_TOKEN", options["clearance_token"])
    with pickle.loads(pickled) as restored:
        assert restored.send_message("Hi").text
        assert restored._access._lifetime == 5

    given = chatgpt_server.proxy_options
    pickled = pickle.dumps(ChatGPTUnofficialProxyAPI(**given, model="gpt-4o"))
    monkeypatch.setenv("OPENAI_ACCESS_TOKEN", given["access_token"])
    with pickle.loads(pickled) as again:
        assert again.send_message("Hi").model == "gpt-4o"


def test_a_pickle_without_the_secrets_of_the_environment_raises_with_its_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unpickling never raises: a worker could not say what is missing."""
    variables = {
        "OPENAI_API_KEY": "sk-canary",
        "OPENAI_ACCESS_TOKEN": "access-canary",
        "OPENAI_SESSION_TOKEN": "session-canary",
        "OPENAI_CLEARANCE_TOKEN": "clearance-canary",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    clients = ChatGPTAPI(), ChatGPTUnofficialProxyAPI(), ChatGPTSessionAPI(user_agent="Mozilla/5.0")
    pickled = [pickle.dumps(client) for client in clients]
    assert not [each for each in pickled if b"canary" in each]
    for name in variables:
        monkeypatch.delenv(name)
    for each in pickled:
        with (
            pickle.loads(each) as restored,
            pytest.raises(ConfigurationError, match="set OPENAI_[A-Z_]+ in the environment"),
        ):
            restored.send_message("Hi")
    for name in variables:
        monkeypatch.setenv(name, "of-the-worker")
    assert [
        pickle.loads(pickled[0]).api_key.reveal(),
        pickle.loads(pickled[1]).access_token.reveal(),
        pickle.loads(pickled[2]).session_token.reveal(),
    ] == ["of-the-worker"] * 3


def test_the_debug_log(
    engine: Engine, chatgpt_server: ChatGPTServer, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log = logging.getLogger("chatgpt")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    engine.session_client(**chatgpt_server.session_options, debug=True).send_message("the words")
    engine.proxy_client(**chatgpt_server.proxy_options, debug=True).send_message("the words")
    logged = capfd.readouterr().err
    assert logged.count("SendRequest(request=HttpRequest(method='POST'") == 2
    assert "words" not in logged


def test_a_token_that_was_set_is_left_behind_by_a_pickle(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session gets another one; that of the environment may be another account's."""
    client = ChatGPTSessionAPI(**chatgpt_server.session_options)
    client.access_token = "mine"
    monkeypatch.setenv("OPENAI_ACCESS_TOKEN", "of-somebody")
    monkeypatch.setenv("OPENAI_SESSION_TOKEN", client.session_token.reveal())
    monkeypatch.setenv("OPENAI_CLEARANCE_TOKEN", client.clearance_token.reveal())
    with pickle.loads(pickle.dumps(client)) as restored:
        assert restored.access_token is None
        assert restored.send_message("Hi").text


def test_a_chat_whose_server_names_no_conversation(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    chat = session.conversation()
    first = chat.send("One")
    nameless = {
        "message": {"id": first.id, "author": {"role": "assistant"}, "content": {"parts": ["x"]}}
    }
    chatgpt_server.inject(
        Fault(status=200, body=f"data: {json.dumps(nameless)}\n\ndata: [DONE]\n\n")
    )
    chat.send("Two")
    assert chat.conversation_id == first.conversation_id


def test_an_unknown_option_is_a_type_error(session: Any, proxy: Any) -> None:
    for client in (session, proxy):
        with pytest.raises(TypeError, match="system_message"):
            client.send_message("Hi", system_message="x")
        with pytest.raises(TypeError, match="unexpected keyword"):
            type(getattr(client, "_behind", client))(api_key="x")
