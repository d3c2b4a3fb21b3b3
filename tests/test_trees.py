"""Moving about in a tree of messages, on every engine: edit, regenerate, undo, branch, go on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from chatgpt import (
    ChatGPTAPI,
    ChatMessage,
    ConfigurationError,
    MemoryStore,
    MessageNotFoundError,
    MessageStore,
    PromptTooLongError,
    RateLimitError,
)
from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest
from tests.engines import Engine, stored_messages


def numbered(server: ChatGPTServer) -> None:
    """Let the server answer with what it was asked, and how often it was asked at all."""

    def respond(request: RecordedRequest) -> str:
        return f"{request.messages[-1]['content']}-{len(server.requests)}"

    server.replies = respond


@pytest.fixture
def server() -> Any:
    with ChatGPTServer() as server:
        numbered(server)
        yield server


@pytest.fixture
def client(engine: Engine, server: ChatGPTServer) -> Any:
    return engine.client(
        api_key=server.api_key, api_base_url=server.base_url, system_message="", max_retries=0
    )


def talk(client: Any, *texts: str) -> tuple[Any, list[ChatMessage]]:
    """A conversation in which these were said, and its replies."""
    chat = client.conversation()
    return chat, [chat.send(text) for text in texts]


def texts(chat: Any) -> list[str]:
    return [message.text for message in chat.history()]


def sent(server: ChatGPTServer) -> list[object]:
    return [message["content"] for message in server.requests[-1].messages]


# --- a chat ----------------------------------------------------------------------------------


def test_a_chat_keeps_its_ids(client: Any, server: ChatGPTServer) -> None:
    chat, (first, second) = talk(client, "a", "b")
    assert texts(chat) == ["a", "a-1", "b", "b-2"]
    assert sent(server) == ["a", "a-1", "b"]
    assert chat.conversation_id == first.conversation_id == second.conversation_id
    assert chat.parent_message_id == second.id
    with chat.stream("c", name="ada") as stream:
        assert "".join(part.delta for part in stream) == "c-3"
    assert chat.parent_message_id == stream.result().id
    assert server.requests[-1].messages[-1]["name"] == "ada"


def test_a_chat_goes_on_from_any_message(client: Any) -> None:
    _, (first, _) = talk(client, "a", "b")
    chat = client.conversation(parent_message_id=first.id)
    chat.send("c")
    assert texts(chat) == ["a", "a-1", "c", "c-3"]
    assert chat.conversation_id == first.conversation_id


def test_the_options_of_a_chat_hold_for_all_it_sends(client: Any, server: ChatGPTServer) -> None:
    chat = client.conversation(
        system_message="Be brief.", completion_params={"seed": 1, "user": "u"}
    )
    reply = chat.send("a", completion_params={"seed": 2})
    chat.regenerate()
    chat.edit(reply.parent_message_id, "b", completion_params={"user": None})
    for request in server.requests:
        assert request.messages[0] == {"role": "system", "content": "Be brief."}
    given = [(request.json.get("seed"), request.json.get("user")) for request in server.requests]
    assert given == [(2, "u"), (1, "u"), (1, None)]


def test_a_limit_of_a_call_stands_for_both_of_the_chat(client: Any, server: ChatGPTServer) -> None:
    chat = client.conversation(completion_params={"max_completion_tokens": 100, "model": "gpt-4o"})
    chat.send("a", completion_params={"max_tokens": 50})
    limits = [server.requests[0].json.get(name) for name in ("max_tokens", "max_completion_tokens")]
    assert limits == [50, None]


def test_a_failure_leaves_a_chat_where_it_was(client: Any, server: ChatGPTServer) -> None:
    chat, (first,) = talk(client, "a")
    for action in (
        lambda: chat.send("b"),
        chat.regenerate,
        lambda: chat.edit(first.parent_message_id, "c"),
    ):
        server.inject(Fault(status=429))
        with pytest.raises(RateLimitError):
            action()
    assert chat.parent_message_id == first.id
    assert len(stored_messages(client)) == 2
    chat.send("b")
    assert texts(chat)[:3] == ["a", "a-1", "b"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"system_message": 5}, TypeError),
        ({"completion_params": [1]}, TypeError),
        ({"completion_params": {"max_tokens": 0}}, ValueError),
        ({"parent_message_id": ""}, ValueError),
        ({"conversation_id": 5}, TypeError),
        ({"prompt_prefix": "x"}, ValueError),
    ],
)
def test_a_chat_that_cannot_be(client: Any, options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        client.conversation(**options)


def test_bad_options_of_a_call_are_refused_before_anything_is_sent(
    client: Any, server: ChatGPTServer
) -> None:
    chat = client.conversation()
    for action in (
        lambda: chat.send(""),
        lambda: chat.send("a", completion_params=[1]),
        lambda: chat.edit("", "a"),
        lambda: chat.edit("m", ""),
        lambda: chat.edit(None, "a"),
        lambda: chat.edit("m", "a", timeout=-1),
        lambda: chat.branch(5),
        lambda: client.thread(""),
        lambda: client.branches(None),
        chat.regenerate,
        chat.continue_reply,
    ):
        with pytest.raises((ValueError, TypeError)):
            action()
    assert server.requests == []


# --- edit ------------------------------------------------------------------------------------


def test_edit_at_the_root(client: Any, server: ChatGPTServer) -> None:
    chat, (first, _) = talk(client, "a", "b")
    edited = chat.edit(first.parent_message_id, "A")
    assert sent(server) == ["A"]
    assert texts(chat) == ["A", "A-3"]
    assert edited.conversation_id == first.conversation_id
    assert [m.text for m in client.thread(first.id)] == ["a", "a-1"], "nothing is overwritten"


def test_edit_in_the_middle(client: Any, server: ChatGPTServer) -> None:
    chat, (first, second, third) = talk(client, "a", "b", "c")
    chat.edit(second.parent_message_id, "B")
    assert sent(server) == ["a", "a-1", "B"]
    assert texts(chat) == ["a", "a-1", "B", "B-4"]
    assert [m.text for m in client.branches(first.id)] == ["b", "B"]
    assert [m.text for m in client.thread(third.id)] == ["a", "a-1", "b", "b-2", "c", "c-3"]


def test_edit_at_a_leaf(client: Any, server: ChatGPTServer) -> None:
    chat, (_, second) = talk(client, "a", "b")
    chat.edit(second.parent_message_id, "B")
    chat.send("C")
    assert sent(server) == ["a", "a-1", "B", "B-3", "C"]


def test_an_edited_message_keeps_its_name(client: Any, server: ChatGPTServer) -> None:
    chat = client.conversation()
    reply = chat.send("a", name="ada")
    chat.edit(reply.parent_message_id, "b", on_progress=lambda _: None)
    assert server.requests[-1].messages == [{"role": "user", "content": "b", "name": "ada"}]
    assert server.requests[-1].json["stream"] is True


def test_a_reply_stands_for_the_question_that_it_answers(client: Any) -> None:
    chat, (first, second) = talk(client, "a", "b")
    chat.edit(second.id, "B")
    assert texts(chat) == ["a", "a-1", "B", "B-3"]
    chat.edit(first.id, "A")
    assert texts(chat) == ["A", "A-4"]


def test_what_cannot_be_edited(engine: Engine, server: ChatGPTServer) -> None:
    store = MemoryStore()
    store.save([ChatMessage(id="r", text="?", role="assistant", parent_message_id="gone")])
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=store
    )
    chat = client.conversation()
    with pytest.raises(ValueError, match="no message of the user that 'r' replies to"):
        chat.edit("r", "A")
    with pytest.raises(MessageNotFoundError):
        chat.edit("nowhere", "A")
    assert server.requests == []


# --- regenerate ------------------------------------------------------------------------------


def test_regenerate_at_the_root(client: Any, server: ChatGPTServer) -> None:
    chat, (first,) = talk(client, "a")
    again = chat.regenerate()
    assert sent(server) == ["a"]
    assert again.parent_message_id == first.parent_message_id
    assert texts(chat) == ["a", "a-2"]
    assert [m.text for m in client.branches(first.parent_message_id)] == ["a-1", "a-2"]
    assert len(stored_messages(client)) == 3, "the question is not stored twice"


def test_regenerate_in_the_middle(client: Any, server: ChatGPTServer) -> None:
    _, (_, second, third) = talk(client, "a", "b", "c")
    chat = client.conversation(parent_message_id=second.id)
    chat.regenerate()
    assert sent(server) == ["a", "a-1", "b"]
    chat.send("d")
    assert texts(chat) == ["a", "a-1", "b", "b-4", "d", "d-5"]
    assert [m.text for m in client.thread(third.id)][-1] == "c-3"


def test_regenerate_at_a_leaf_several_times(client: Any) -> None:
    chat, (_, second) = talk(client, "a", "b")
    parts: list[str] = []
    replies = [chat.regenerate(on_progress=lambda part: parts.append(part.delta)) for _ in range(3)]
    assert len({reply.id for reply in (second, *replies)}) == 4
    assert texts(chat) == ["a", "a-1", "b", "b-5"]
    assert "".join(parts) == "b-3b-4b-5"


def test_regenerate_answers_a_question_that_has_no_reply(client: Any) -> None:
    _, (first,) = talk(client, "a")
    chat = client.conversation(parent_message_id=first.parent_message_id)
    chat.regenerate()
    assert texts(chat) == ["a", "a-2"]


def test_regenerate_without_the_question(engine: Engine, server: ChatGPTServer) -> None:
    store = MemoryStore()
    store.save([ChatMessage(id="r", text="?", role="assistant", parent_message_id="gone")])
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=store
    )
    with pytest.raises(MessageNotFoundError, match="cannot be answered again"):
        client.conversation(parent_message_id="r").regenerate()


# --- undo ------------------------------------------------------------------------------------


def test_undo_at_a_leaf_in_the_middle_and_at_the_root(client: Any, server: ChatGPTServer) -> None:
    chat, (first, second) = talk(client, "a", "b")
    taken_back = chat.undo()
    assert (taken_back.text, taken_back.id) == ("b", second.parent_message_id)
    assert texts(chat) == ["a", "a-1"]
    chat.send("c")
    assert sent(server) == ["a", "a-1", "c"]
    assert chat.undo().text == "c"
    assert chat.undo().text == "a"
    assert chat.undo() is None, "there is nothing left to undo"
    assert chat.history() == []
    assert chat.parent_message_id is None
    reply = chat.send("d")
    assert sent(server) == ["d"]
    assert reply.conversation_id == first.conversation_id, "it is the same conversation"
    assert len(stored_messages(client)) == 8, "nothing is deleted"


def test_undo_takes_a_whole_turn_back(engine: Engine, server: ChatGPTServer) -> None:
    """With what a tool said in between."""
    store = MemoryStore()
    store.save(
        [
            ChatMessage(id="1", text="what time?"),
            ChatMessage(id="2", text="", role="assistant", parent_message_id="1"),
            ChatMessage(id="3", text="noon", role="tool", parent_message_id="2"),
            ChatMessage(id="4", text="It is noon.", role="assistant", parent_message_id="3"),
            ChatMessage(id="x", text="a circle", role="assistant", parent_message_id="x"),
        ]
    )
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=store
    )
    chat = client.conversation(parent_message_id="4")
    assert chat.undo().text == "what time?"
    assert chat.history() == []
    assert client.conversation(parent_message_id="x").undo() is None
    with pytest.raises(MessageNotFoundError):
        client.conversation(parent_message_id="nowhere").undo()


def test_undo_in_a_store_that_forgets(engine: Engine, server: ChatGPTServer) -> None:
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=MemoryStore(4)
    )
    chat, _ = talk(client, "a", "b", "c")
    assert chat.undo().text == "c"
    place = chat.parent_message_id
    with pytest.raises(MessageNotFoundError, match="nothing to go back to"):
        chat.undo()
    assert chat.parent_message_id == place, "nothing is lost silently"
    chat.send("d")
    chat = client.conversation(parent_message_id=chat.parent_message_id)
    client.send_message("e")
    client.send_message("f")
    with pytest.raises(MessageNotFoundError):
        chat.undo()


def test_undo_without_the_question_stays_where_it_is(engine: Engine, server: ChatGPTServer) -> None:
    store = MemoryStore()
    store.save([ChatMessage(id="r", text="?", role="assistant", parent_message_id="gone")])
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=store
    )
    chat = client.conversation(parent_message_id="r")
    assert chat.undo() is None
    assert chat.parent_message_id == "r"


# --- one thing at a time ---------------------------------------------------------------------


def test_a_chat_does_one_thing_at_a_time(client: Any) -> None:
    chat, _ = talk(client, "a")
    with chat.stream("b") as stream:
        for action in (lambda: chat.send("c"), chat.regenerate, chat.undo):
            with pytest.raises(RuntimeError, match="does one thing at a time"):
                action()
        assert texts(chat) == ["a", "a-1"], "reading is no harm"
        list(stream)
    assert texts(chat)[2] == "b"
    with chat.stream("c"):
        pass  # left early
    chat.send("d")
    assert texts(chat)[4:5] == ["d"]


def test_a_copy_is_not_on_its_way(server: ChatGPTServer) -> None:
    with ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url) as bot:
        chat = bot.conversation()
        chat.send("a")
        with chat.stream("b") as stream:
            other = copy.copy(chat)
            other.send("c")
            list(stream)
        assert [message.text for message in other.history()][-2:] == ["c", "c-3"]


def test_a_function_of_the_caller_cannot_move_its_chat(engine: Engine, client: Any) -> None:
    chat, _ = talk(client, "a")
    behind = getattr(chat, "_behind", chat)

    async def undo_later(_: ChatMessage) -> None:
        await behind.undo()

    def undo(_: ChatMessage) -> None:
        behind.undo()

    with pytest.raises(RuntimeError, match="does one thing at a time"):
        chat.send("b", on_progress=undo if engine.name == "sync" else undo_later)
    chat.send("c")
    assert texts(chat)[2] == "c"


def test_a_stream_goes_on_from_where_the_chat_stands_when_it_is_entered(
    client: Any, server: ChatGPTServer
) -> None:
    chat = client.conversation()
    first, second = chat.stream("a"), chat.stream("b")
    for stream in (second, first):
        with stream:
            list(stream)
    assert sent(server) == ["b", "b-1", "a"]


# --- branches --------------------------------------------------------------------------------


def test_a_branch_goes_its_own_way(client: Any) -> None:
    chat, (first, _) = talk(client, "a", "b")
    other, early = chat.branch(), chat.branch(first.id)
    chat.send("c")
    other.send("d")
    early.send("e")
    assert texts(chat) == ["a", "a-1", "b", "b-2", "c", "c-3"]
    assert texts(other) == ["a", "a-1", "b", "b-2", "d", "d-4"]
    assert texts(early) == ["a", "a-1", "e", "e-5"]
    assert chat.conversation_id == other.conversation_id == early.conversation_id


def test_two_branches_from_two_threads_at_the_same_time(client: Any, server: ChatGPTServer) -> None:
    def respond(request: RecordedRequest) -> str:
        return f"to {request.messages[-1]['content']}"

    server.replies = respond
    chat, _ = talk(client, "a")
    branches = [chat.branch() for _ in range(2)]

    def go_on(number: int) -> list[str]:
        for turn in range(8):
            branches[number].send(f"{number}.{turn}")
        return texts(branches[number])

    with ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(go_on, range(2)))
    for number, thread in enumerate(threads):
        said = [f"{number}.{turn}" for turn in range(8)]
        assert thread == ["a", "to a", *(text for one in said for text in (one, f"to {one}"))]
    assert len(client.branches(chat.parent_message_id)) == 2
    assert texts(chat) == ["a", "to a"]


def test_branches_of_what_is_not_there(client: Any) -> None:
    with pytest.raises(MessageNotFoundError):
        client.branches("nowhere")
    with pytest.raises(TypeError, match="message_id must be a str"):
        client.branches(5)


def test_a_leaf_has_no_branches(client: Any) -> None:
    _, (first,) = talk(client, "a")
    assert client.branches(first.id) == []


def test_a_store_that_cannot_find_replies_says_so(engine: Engine, server: ChatGPTServer) -> None:
    messages: dict[str, ChatMessage] = {}

    class Bare:
        """Not derived from anything, and without `replies`."""

        def get(self, message_id: str) -> ChatMessage | None:
            return messages.get(message_id)

        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            return [messages[message_id]]

        def save(self, given: list[ChatMessage]) -> None:
            messages.update({message.id: message for message in given})

    where = {"api_key": server.api_key, "api_base_url": server.base_url}

    def upsert(message: ChatMessage) -> None:
        messages[message.id] = message

    for options in (
        {"message_store": Bare()},
        {"get_message_by_id": messages.get, "upsert_message": upsert},
        {"get_message_by_id": messages.get},
        {"message_store": Bare(), "upsert_message": upsert},
    ):
        client: Any = engine.client(**where, **options)
        reply = client.send_message("a")
        with pytest.raises(ConfigurationError, match="cannot find the replies to a message"):
            client.branches(reply.id)


def test_a_store_that_returns_something_else(engine: Engine, server: ChatGPTServer) -> None:
    class Odd(MemoryStore):
        def replies(self, message_id: str) -> Any:
            return [{"id": message_id}]

    class Dictionaries(MessageStore):
        def get(self, message_id: str) -> Any:
            return {"id": message_id, "text": "?"}

        def save(self, messages: Any) -> None:
            raise AssertionError(messages)

    where = {"api_key": server.api_key, "api_base_url": server.base_url}
    client: Any = engine.client(**where, message_store=Odd())
    reply = client.send_message("a")
    with pytest.raises(TypeError, match="returned a dict where a ChatMessage is needed"):
        client.branches(reply.id)
    client = engine.client(**where, message_store=Dictionaries())
    with pytest.raises(TypeError, match="returned a dict where a ChatMessage is needed"):
        client.send_message("a", parent_message_id="x")


def test_async_replies_are_refused_by_the_sync_twin(server: ChatGPTServer) -> None:
    class Half(MemoryStore):
        async def replies(self, message_id: str) -> Any:  # type: ignore[override] # that is the point
            return []

    with ChatGPTAPI(
        api_key=server.api_key, api_base_url=server.base_url, message_store=Half()
    ) as bot:
        reply = bot.send_message("a")
        with pytest.raises(
            TypeError, match="replies of the message_store must be a plain function"
        ):
            bot.branches(reply.id)


def test_a_function_beside_a_store_leaves_the_replies_to_it(
    engine: Engine, server: ChatGPTServer
) -> None:
    seen: list[ChatMessage] = []
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, upsert_message=seen.append
    )
    reply = client.send_message("a")
    assert [m.id for m in client.branches(reply.parent_message_id)] == [reply.id]


def test_replies_are_told_oldest_first_whatever_their_times_are(
    engine: Engine, server: ChatGPTServer
) -> None:
    store = MemoryStore()
    times = [datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1), None]  # noqa: DTZ001 - a store's mistake
    store.save([ChatMessage(id="q", text="?")])
    for number, time in enumerate(times):
        store.save([ChatMessage(id=f"{number}", text="!", parent_message_id="q", created_at=time)])
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=store
    )
    assert [message.id for message in client.branches("q")] == ["2", "1", "0"]


def test_a_plain_store_finds_replies_in_both_twins(engine: Engine, server: ChatGPTServer) -> None:
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, message_store=MemoryStore()
    )
    chat, _ = talk(client, "a")
    again = chat.regenerate()
    assert [m.text for m in client.branches(again.parent_message_id)] == ["a-1", "a-2"]


# --- the whole tree --------------------------------------------------------------------------


def rows(tree: Any) -> list[str]:
    """What a tree shows: `>` for each step to the right, the text, `*` where it stands."""
    return [
        f"{'>' * row.depth}{row.message.text}{'*' if row.is_here else ''}" for row in tree.rows()
    ]


def test_a_tree_holds_every_branch(client: Any) -> None:
    chat, (first, second) = talk(client, "a", "b")
    chat.edit(second.parent_message_id, "B")
    chat.regenerate()
    tree = chat.tree()
    assert rows(tree) == ["a", "a-1", ">b", ">b-2", "B", ">B-3", "B-4*"]
    assert tree.last_message_id == chat.parent_message_id
    assert len(tree.messages) == len(stored_messages(client))
    other = client.conversation(parent_message_id=first.id)
    assert rows(other.tree()) == ["a", "a-1*", ">b", ">b-2", "B", ">B-3", "B-4"]


def test_a_tree_holds_the_first_question_in_all_its_forms(client: Any) -> None:
    chat, replies = talk(client, "a", "b")
    chat.edit(replies[0].id, "A")
    assert rows(chat.tree()) == [">a", ">a-1", ">b", ">b-2", "A", "A-3*"]


def test_a_tree_is_read_and_asks_no_server(client: Any, server: ChatGPTServer) -> None:
    chat, _ = talk(client, "a")
    before = stored_messages(client)
    chat.tree()
    assert len(server.requests) == 1
    assert stored_messages(client) == before


def test_a_tree_before_the_first_message(client: Any) -> None:
    assert client.conversation().tree().messages == ()


def test_a_tree_of_a_message_that_is_not_there(client: Any) -> None:
    with pytest.raises(MessageNotFoundError):
        client.conversation(parent_message_id="nowhere").tree()


def test_a_tree_in_a_store_that_finds_no_replies(engine: Engine, server: ChatGPTServer) -> None:
    messages: dict[str, ChatMessage] = {}

    async def get_later(message_id: str) -> ChatMessage | None:
        return messages.get(message_id)

    async def save_later(message: ChatMessage) -> None:
        messages[message.id] = message

    is_sync = engine.name == "sync"
    client: Any = engine.client(
        api_key=server.api_key,
        api_base_url=server.base_url,
        get_message_by_id=messages.get if is_sync else get_later,
        upsert_message=(lambda each: messages.update({each.id: each})) if is_sync else save_later,
    )
    chat, _ = talk(client, "a")
    with pytest.raises(ConfigurationError, match="replies"):
        chat.tree()


# --- going on --------------------------------------------------------------------------------


def test_a_reply_that_was_cut_is_gone_on_with(client: Any, server: ChatGPTServer) -> None:
    server.replies = [
        Answer(text="Once upon", finish_reason="length"),
        Answer(text=" a time", finish_reason="length"),
        Answer(text=" there was."),
    ]
    chat, (cut,) = talk(client, "Tell me a story.")
    assert cut.finish_reason == "length"
    parts: list[tuple[str | None, str]] = []
    more = chat.continue_reply(on_progress=lambda part: parts.append((part.delta, part.text)))
    assert (more.text, more.finish_reason) == ("Once upon a time", "length")
    assert parts[0][1].startswith("Once upon a")
    assert "".join(delta or "" for delta, _ in parts) == " a time"
    whole = chat.continue_reply()
    assert (whole.text, whole.finish_reason) == ("Once upon a time there was.", "stop")
    assert texts(chat) == ["Tell me a story.", "Once upon a time there was."]
    assert cut.parent_message_id == more.parent_message_id == whole.parent_message_id
    assert len(client.branches(cut.parent_message_id)) == 3
    assert len(stored_messages(client)) == 4, "what asks to go on is not stored"
    *history, asks = sent(server)
    assert history == ["Tell me a story.", "Once upon a time"]
    assert "exactly where it stops" in str(asks)
    with pytest.raises(ValueError, match="finish_reason 'stop'"):
        chat.continue_reply()


def test_going_on_with_nothing(client: Any, server: ChatGPTServer) -> None:
    server.replies = [Answer(text="", reasoning="hm", finish_reason="length")]
    chat, _ = talk(client, "a")
    with pytest.raises(ValueError, match="its limit was used up before it spoke"):
        chat.continue_reply()


def test_going_on_that_fails_keeps_the_text_in_partial(client: Any, server: ChatGPTServer) -> None:
    server.replies = [Answer(text="Once upon", finish_reason="length"), Answer(text=" a time.")]
    chat, (cut,) = talk(client, "a")
    server.inject(Fault(error_after=2))
    with pytest.raises(Exception, match="had an error") as caught:
        chat.continue_reply(on_progress=lambda _: None)
    assert caught.value.partial == "Once upon a"  # type: ignore[attr-defined] # of every ChatGPTError
    assert chat.parent_message_id == cut.id


def test_a_text_completion_is_gone_on_with_where_it_stops(
    engine: Engine, server: ChatGPTServer
) -> None:
    client: Any = engine.client(
        api_key=server.api_key,
        api_base_url=server.base_url,
        model="davinci-002",
        system_message="",
        user_label="Human",
        assistant_label="Bot",
    )
    server.replies = [
        Answer(text="\n\nOnce upon", finish_reason="length"),
        Answer(text=" a time."),
        "The end.",
    ]
    chat, _ = talk(client, "A story.")
    assert chat.continue_reply().text == "Once upon a time."
    end = "<|endoftext|>"
    assert server.requests[-1].json["prompt"] == f"Human:\n\nA story.{end}\n\nBot:\n\nOnce upon"
    chat.send("More.")
    assert server.requests[-1].path == "/v1/completions"
    assert server.requests[-1].json["prompt"] == (
        f"Human:\n\nA story.{end}\n\nBot:\n\nOnce upon a time.{end}\n\nHuman:\n\nMore.{end}\n\nBot:\n"
    )
    assert texts(chat)[-1] == "The end."


# --- preview ---------------------------------------------------------------------------------


def test_a_preview_says_what_would_be_sent_and_sends_nothing(
    engine: Engine, server: ChatGPTServer
) -> None:
    client: Any = engine.client(
        api_key=server.api_key,
        api_base_url=server.base_url,
        model="gpt-4o",
        system_message="Be brief.",
        max_model_tokens=180,
        max_response_tokens=80,
    )
    server.replies = lambda _: Answer(text="word " * 20, has_usage=False)
    _, replies = talk(client, *(f"{number} " + "word " * 20 for number in range(3)))
    seen = len(server.requests)
    preview = client.preview("And now?", parent_message_id=replies[-1].id, name="ada")
    assert len(server.requests) == seen
    assert [m.text[:1] for m in preview.messages] == ["B", "2", "w", "A"]
    assert [m.text[:1] for m in preview.left_out] == ["0", "w", "1", "w"]
    assert preview.prompt_tokens == preview.context.prompt_tokens <= 100
    assert (preview.context.counting, preview.context.left_out) == ("exact", 4)
    assert preview.body["model"] == "gpt-4o"
    client.send_message("And now?", parent_message_id=replies[-1].id, name="ada")
    assert server.requests[-1].json == preview.body
    stored = {message.id: message for message in stored_messages(client)}
    assert stored[replies[-1].id].token_counts["o200k_base"] > 0, "counts are saved with the reply"


def test_a_preview_of_a_chat_knows_its_options(client: Any, server: ChatGPTServer) -> None:
    chat = client.conversation(system_message="Be brief.", completion_params={"seed": 1})
    chat.send("a")
    preview = chat.preview("b", name="ada", completion_params={"user": "u"})
    assert len(server.requests) == 1
    chat.send("b", name="ada", completion_params={"user": "u"})
    assert server.requests[-1].json == preview.body


def test_a_preview_of_a_text_completion(engine: Engine, server: ChatGPTServer) -> None:
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, endpoint="completions"
    )
    preview = client.preview("Hi", prompt_prefix="PRE\n", prompt_suffix="\nSUF")
    assert preview.body["prompt"] == "PRE\nUser:\n\nHi<|endoftext|>\nSUF"
    assert server.requests == []


def test_a_preview_fails_as_sending_would(engine: Engine, server: ChatGPTServer) -> None:
    client: Any = engine.client(
        api_key=server.api_key,
        api_base_url=server.base_url,
        max_model_tokens=100,
        max_response_tokens=50,
    )
    with pytest.raises(PromptTooLongError):
        client.preview("word " * 100)
    with pytest.raises(MessageNotFoundError):
        client.preview("Hi", parent_message_id="nowhere")
    with pytest.raises(ValueError, match="for text completions"):
        client.preview("Hi", prompt_suffix="x")
    with pytest.raises(ValueError, match="must not be empty"):
        client.preview("")


# --- models ----------------------------------------------------------------------------------


def test_a_model_past_its_day_warns_once(engine: Engine, server: ChatGPTServer) -> None:
    # A name of its own for each engine: a model is warned of once in a process.
    model = {"sync": "gpt-4-32k", "asyncio": "gpt-4-0314", "trio": "gpt-4-vision-preview"}
    client: Any = engine.client(
        api_key=server.api_key, api_base_url=server.base_url, model=model[engine.name]
    )
    with pytest.warns(FutureWarning, match=r"OpenAI has shut down the model .* \(202") as caught:
        client.send_message("a")
        client.send_message("b")
        client.conversation().send("c")
    assert len(caught) == 1


def test_the_warning_points_at_the_line_that_asks(server: ChatGPTServer) -> None:
    where = {"api_key": server.api_key, "api_base_url": server.base_url}
    asks: list[Callable[[ChatGPTAPI], object]] = [
        lambda bot: bot.send_message("a"),
        lambda bot: bot.preview("a"),
        lambda bot: bot.conversation(),
        lambda bot: bot.stream_message("a"),
    ]
    models = ["gpt-4-0125-preview", "gpt-4.5-preview", "o1-preview", "o1-mini"]
    for ask, model in zip(asks, models, strict=True):
        with pytest.warns(FutureWarning) as caught, ChatGPTAPI(**where, model=model) as client:  # type: ignore[arg-type] # they are str
            ask(client)
        assert [warning.filename for warning in caught] == [__file__]


def test_a_module_of_the_callers_with_a_like_name_is_his(server: ChatGPTServer) -> None:
    code = "def ask(bot): bot.send_message('a')"
    module: dict[str, Any] = {"__name__": "chatgpt_bot"}
    exec(compile(code, "chatgpt_bot.py", "exec"), module)
    with ChatGPTAPI(
        api_key=server.api_key, api_base_url=server.base_url, model="gpt-4.1-nano"
    ) as bot:
        with pytest.warns(FutureWarning) as caught:
            module["ask"](bot)
    assert [warning.filename for warning in caught] == ["chatgpt_bot.py"]


def test_another_key_begins_to_learn_anew(client: Any, server: ChatGPTServer) -> None:
    """An organization may do what another one may not."""
    server.refused_parameters = ["stream"]
    client.send_message("a", on_progress=lambda _: None)
    server.refused_parameters = []
    for name, value in (("api_org", "org-2"), ("api_key", server.api_key)):
        server.refused_parameters = ["stream"]
        client.send_message("a", on_progress=lambda _: None)
        server.refused_parameters = []
        setattr(client, name, value)
        client.send_message("b", on_progress=lambda _: None)
        assert server.requests[-1].json["stream"] is True


def test_calls_at_the_same_moment_all_succeed(client: Any, server: ChatGPTServer) -> None:
    server.refused_parameters = ["max_tokens", "seed"]
    params = {"model": "llama3.1", "max_tokens": 50, "seed": 1}
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(lambda n: client.send_message(f"{n}", completion_params=params), range(16))
        )
    assert len({reply.id for reply in replies}) == 16


def test_server_that_refuses_costs_three_calls_once(client: Any, server: ChatGPTServer) -> None:
    server.refused_parameters = ["max_tokens", "temperature", "stream_options"]
    params = {"model": "llama3.1", "max_tokens": 50, "temperature": 0.3}
    parts: list[ChatMessage] = []
    first = client.send_message("a", completion_params=params, on_progress=parts.append)
    assert len(server.requests) == 4
    client.send_message(
        "b", completion_params=params, on_progress=parts.append, parent_message_id=first.id
    )
    with client.stream_message("c", completion_params=params) as stream:
        list(stream)
    assert len(server.requests) == 6
    assert server.requests[-1].json["max_completion_tokens"] == 50
    assert [change.parameter for change in first.context.changes] == [
        "max_tokens",
        "stream_options",
        "temperature",
    ]
    server.refused_parameters = ["stream"]
    with client.stream_message("d", completion_params=params) as stream:
        assert [part.delta for part in stream] == ["d-8"]
    client.send_message("e", completion_params=params, on_progress=parts.append)
    assert len(server.requests) == 9


def test_a_window_that_only_the_server_knows(client: Any, server: ChatGPTServer) -> None:
    """It counts words; the thread goes on, shortened, at the price of one call."""
    params = {"model": "llama3.1"}
    parent = None
    for number in range(6):
        text = f"{number} " + "word " * 20
        parent = client.send_message(text, completion_params=params, parent_message_id=parent).id
    server.context_length = 120
    reply = client.send_message("And now?", completion_params=params, parent_message_id=parent)
    assert len(server.requests) == 8
    assert reply.context.left_out > 0
    assert [change.parameter for change in reply.context.changes] == ["messages"]
    client.send_message("Again.", completion_params=params, parent_message_id=reply.id)
    assert len(server.requests) == 9
