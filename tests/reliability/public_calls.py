"""Every public call of the package, found by looking at it, and how each of them is made.

Strategy: what is public is read off `__all__` and off the classes; a table says how each call is made with the
clients of a scene. So a new public method without a case makes a test fail (`missing_cases`).

Rules:

1. A scene has a client that knows canaries alone as its secrets, whatever way it was given them, and a server that
   accepts them.
2. A case returns what its call returned, streams read to their end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from attrs import define

import chatgpt
import chatgpt_async
from chatgpt import Secret
from chatgpt.testing import Answer, ChatGPTServer, RawAnswer
from chatgpt.testing.web import WebBackend
from tests.engines import Engine
from tests.reliability.canaries import (
    ACCESS_TOKEN,
    API_KEY,
    CLEARANCE_TOKEN,
    EMAIL,
    MADE_TOKEN,
    ORGANIZATION,
    PASSWORD,
    PLAIN_HEADER,
    PROXY_PASSWORD,
    SECRET_HEADER,
    SESSION_TOKEN,
    Meant,
)

Options: TypeAlias = Mapping[str, object]

ENVIRONMENT: Final = {
    "OPENAI_API_KEY": API_KEY,
    "OPENAI_ORG_ID": ORGANIZATION,
    "OPENAI_ACCESS_TOKEN": ACCESS_TOKEN,
    "OPENAI_SESSION_TOKEN": SESSION_TOKEN,
    "OPENAI_CLEARANCE_TOKEN": CLEARANCE_TOKEN,
}


class _Backend(WebBackend):
    """A backend whose own tokens are canaries."""

    def access_token(self) -> str:
        self.accept(MADE_TOKEN)
        return MADE_TOKEN


def make_server() -> ChatGPTServer:
    """A server that accepts the canaries."""
    answer = Answer(text="Some words.", finish_reason="length")  # so that it can be continued
    server = ChatGPTServer(lambda _: answer, api_key=API_KEY)
    server.web = _Backend()
    server.web.session_token, server.web.clearance_token = SESSION_TOKEN, CLEARANCE_TOKEN
    for token in (ACCESS_TOKEN, MADE_TOKEN):
        server.web.accept(token)
    return server


def give_token(**_: object) -> str:
    """What a caller gives as `get_access_token`; a pickle finds it again."""
    return ACCESS_TOKEN


@define
class Scene:
    """Clients of one kind, on one engine.

    Attributes:
        engine: the engine.
        server: what they talk to.
        client: the client of a call.
        known: what the client knows, as a server may repeat it.
        meant: which secrets a header may hold.
        place: the ids of a reply from which a conversation goes on.
        hasty: the same client with a timeout that is soon over.
        foreign: options that its methods have and its flow has not.
    """

    engine: Engine
    server: ChatGPTServer
    client: Any
    hasty: Any
    known: list[str]
    meant: Meant
    place: dict[str, str | None]
    foreign: Collection[str] = ()

    def begin(self, *answer: RawAnswer) -> None:
        """Begin a conversation from which the calls go on; the server may be told what to answer."""
        self.server.clear_faults()
        self.server.inject(*answer)
        reply = self.client.send_message("hi")
        self.place = {
            "parent_message_id": reply.id,
            "conversation_id": reply.conversation_id,
        }

    def chat(self) -> Any:
        """A conversation that goes on from there."""
        return self.client.conversation(**self.place)


HEADERS: Final = {"X-Api-Key": PLAIN_HEADER, "X-Own": Secret(SECRET_HEADER)}
_MEANT_HEADERS: Final = {"x-api-key": {"header"}, "x-own": {"wrapped"}}
HASTE: Final = 0.04
"""Seconds."""


def official_scene(engine: Engine, server: ChatGPTServer, given: Options | None = None) -> Scene:
    """Clients of the official flow.

    Args:
        engine: the engine.
        server: what they talk to.
        given: where the secrets come from; by default they are given, `{}` for the environment.
    """
    options: dict[str, Any] = {
        "api_base_url": server.base_url,
        "headers": HEADERS,
        "max_retries": 0,
        "debug": True,
        "message_store": engine.package.MemoryStore(),
        **({"api_key": API_KEY, "api_org": ORGANIZATION} if given is None else given),
    }
    known = [API_KEY, f"Bearer {API_KEY}", ORGANIZATION, PLAIN_HEADER, SECRET_HEADER]
    return Scene(
        engine,
        server,
        engine.client(**options),
        engine.client(**options, timeout=HASTE),
        known,
        {
            "authorization": {"key"},
            "openai-organization": {"organization"},
            **_MEANT_HEADERS,
        },
        {},
    )


def scene_behind_a_proxy(engine: Engine, server: ChatGPTServer) -> Scene:
    """Clients of the official flow behind a proxy with a password, which answers everything itself."""
    scene = official_scene(
        engine,
        server,
        {
            "api_key": API_KEY,
            "api_org": ORGANIZATION,
            "api_base_url": "http://chat.example/v1",
            "proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:{server.port}",
        },
    )
    scene.known.append(PROXY_PASSWORD)
    return scene


def proxy_scene(engine: Engine, server: ChatGPTServer, given: Options | None = None) -> Scene:
    """Clients of a reverse proxy: with a function that gets the token, or with the token itself."""
    with_function: Options = {
        "get_access_token": give_token,
        "email": EMAIL,
        "password": PASSWORD,
        "session_token": SESSION_TOKEN,
    }
    options: dict[str, Any] = {
        "api_reverse_proxy_url": server.proxy_options["api_reverse_proxy_url"],
        "headers": HEADERS,
        "max_retries": 0,
        "debug": True,
        **(with_function if given is None else given),
    }
    known = [ACCESS_TOKEN, PLAIN_HEADER, SECRET_HEADER]
    known += [EMAIL, PASSWORD, SESSION_TOKEN] if given is None else []
    return Scene(
        engine,
        server,
        engine.proxy_client(**options),
        engine.proxy_client(**options, timeout=HASTE),
        known,
        {"authorization": {"access"}, **_MEANT_HEADERS},
        {},
    )


def session_scene(engine: Engine, server: ChatGPTServer, given: Options | None = None) -> Scene:
    """Clients with the session of a browser, to which the server gives its tokens."""
    urls = server.session_options
    options: dict[str, Any] = {
        "api_base_url": urls["api_base_url"],
        "backend_api_base_url": urls["backend_api_base_url"],
        "headers": HEADERS,
        "max_retries": 0,
        "debug": True,
        **(
            {"session_token": SESSION_TOKEN, "clearance_token": CLEARANCE_TOKEN}
            if given is None
            else given
        ),
    }
    return Scene(
        engine,
        server,
        engine.session_client(**options),
        engine.session_client(**options, timeout=HASTE),
        [SESSION_TOKEN, CLEARANCE_TOKEN, PLAIN_HEADER, SECRET_HEADER],
        {
            "authorization": {"made", "access"},
            "cookie": {"session", "clearance"},
            **_MEANT_HEADERS,
        },
        {},
    )


def pool_scene(
    engine: Engine, server: ChatGPTServer, of: Callable[[Engine, ChatGPTServer], Scene]
) -> Scene:
    """Pools of the clients of another scene, each of which stands for two accounts."""

    def pool(client: Any) -> Any:
        accounts = dict.fromkeys(("first", "second"), getattr(client, "_behind", client))
        timeout = client._settings.timeout
        return engine.adopt(engine.package.ChatGPTPool(accounts, cooldown=0, timeout=timeout))

    scene = of(engine, server)
    if of is official_scene:
        scene.foreign = ("on_conversation_response",)
    scene.client, scene.hasty = pool(scene.client), pool(scene.hasty)
    return scene


# --- the calls -------------------------------------------------------------------------------

Case: TypeAlias = Callable[[Scene, Any, Options], object]
"""Makes a call: with a scene, with its client or conversation, and with further options of the call."""


def _read(stream: Any) -> object:
    with stream:
        for _ in stream:
            pass
    return stream, stream.result()


def _left(stream: Any) -> object:
    """A stream that is left after its first part, closed, and asked for its reply."""
    with stream:
        next(stream)
    stream.close()
    return stream.text, stream.result()


def _replied(scene: Scene) -> tuple[str, str]:
    return str(scene.place["conversation_id"]), str(scene.place["parent_message_id"])


def _signed_out(client: Any) -> Any:
    """A client that has to ask for its token again."""
    client.close_session()
    return client


def _in_service(pool: Any) -> Any:
    """A pool whose accounts have a quota again."""
    for account_id in pool.accounts:
        pool.restore_account(account_id)
    return pool


def _with_another(pool: Any) -> Any:
    """A pool with one account more."""
    if "another" not in pool.accounts:
        pool.add_account(pool.accounts["first"], account_id="another")
    return pool


def _refresh(pool: Any) -> None:
    if not isinstance(pool.accounts["first"], (chatgpt.ChatGPTAPI, chatgpt_async.ChatGPTAPI)):
        pool.refresh_account("first")


_SENDING: Final[dict[str, Case]] = {
    "send_message": lambda _, client, given: client.send_message("hi", **given),
    "stream_message": lambda _, client, given: _read(client.stream_message("hi", **given)),
    "conversation": lambda scene, client, _: client.conversation(**scene.place),
    "route": lambda _, client, __: client.route(),
    "close": lambda _, client, __: client.close(),
}

CALLS: Final[dict[str, dict[str, Case]]] = {
    "ChatGPTAPI": {
        **_SENDING,
        "preview": lambda scene, client, _: client.preview(
            "hi", parent_message_id=scene.place["parent_message_id"]
        ),
        "send_moderation": lambda _, client, __: client.send_moderation("hi"),
        "thread": lambda scene, client, _: client.thread(scene.place["parent_message_id"]),
        "branches": lambda scene, client, _: client.branches(scene.place["parent_message_id"]),
    },
    "Conversation": {
        "send": lambda _, chat, given: (chat.send("hi", **given), chat),
        "stream": lambda _, chat, given: _read(chat.stream("hi", **given)),
        "regenerate": lambda _, chat, given: chat.regenerate(**given),
        "edit": lambda scene, chat, given: chat.edit(
            scene.place["parent_message_id"], "Hi.", **given
        ),
        "continue_reply": lambda _, chat, given: chat.continue_reply(**given),
        "branch": lambda _, chat, __: chat.branch(),
        "history": lambda _, chat, __: chat.history(),
        "preview": lambda _, chat, __: chat.preview("hi"),
        "tree": lambda _, chat, __: chat.tree(),
        "undo": lambda _, chat, __: chat.undo(),
    },
    "ChatGPTUnofficialProxyAPI": _SENDING,
    "ChatGPTSessionAPI": {
        **_SENDING,
        "init_session": lambda _, client, __: _signed_out(client).init_session(),
        "refresh_session": lambda _, client, __: _signed_out(client).refresh_session(),
        "reset_session": lambda _, client, __: client.reset_session(),
        "close_session": lambda _, client, __: client.close_session(),
        "get_is_authenticated": lambda _, client, __: _signed_out(client).get_is_authenticated(),
        "list_conversations": lambda _, client, __: list(client.list_conversations()),
        "get_conversation": lambda scene, client, _: client.get_conversation(_replied(scene)[0]),
        "generate_title": lambda scene, client, _: client.generate_title(*_replied(scene)),
        "set_title": lambda scene, client, _: client.set_title(_replied(scene)[0], "Title"),
        "archive": lambda scene, client, _: client.archive(_replied(scene)[0]),
        "delete_conversation": lambda scene, client, _: client.delete_conversation(
            _replied(scene)[0]
        ),
        "send_feedback": lambda scene, client, _: client.send_feedback(
            *_replied(scene), "thumbsUp"
        ),
        "send_moderation": lambda _, client, __: client.send_moderation("hi"),
    },
    "WebConversation": {
        "send": lambda _, chat, given: (chat.send("hi", **given), chat),
        "stream": lambda _, chat, given: _read(chat.stream("hi", **given)),
    },
    "ChatGPTPool": {
        "send_message": lambda _, pool, given: _in_service(pool).send_message("hi", **given),
        "stream_message": lambda _, pool, given: _read(
            _in_service(pool).stream_message("hi", **given)
        ),
        "status": lambda _, pool, __: pool.status(),
        "add_account": lambda _, pool, __: _with_another(pool).accounts,
        "remove_account": lambda _, pool, __: _with_another(pool).remove_account("another"),
        "restore_account": lambda _, pool, __: pool.restore_account("first"),
        "refresh_account": lambda _, pool, __: _refresh(pool),
        "close": lambda _, pool, __: pool.close(),
    },
    "MessageStream": {
        "close": lambda _, client, given: _left(client.stream_message("hi", **given)),
        "result": lambda _, client, given: client.stream_message("hi", **given).result(),
    },
}
"""By class and method; a method of a conversation is called on one."""

FUNCTIONS: Final = ("export_messages", "import_messages", "import_chatgpt_export")
"""Functions that are no methods: the tests of what is stored call them."""

STORES: Final = {
    "MemoryStore": ("all_messages", "conversation_messages", "get", "path", "replies", "save"),
    "SQLiteStore": (
        *("all_messages", "close", "get", "path", "replies", "save", "search"),
        *("clear", "conversation_messages", "conversations", "delete_conversation"),
        *("find_conversations", "name_conversation", "unreadable_messages", "use_conversation"),
    ),
    "RedisStore": (
        *("all_messages", "close", "get", "of_client", "path", "replies", "save"),
        "unreadable_messages",
    ),
}
"""The methods of stores, which the tests of what is stored call."""

_SECRETLESS: Final = {
    "AChatGPTAPI": "what it promises, ChatGPTSessionAPI does",
    "CancelToken": "knows no client",
    "ChatMessage": "is searched wherever one is returned",
    "ChatResponse": "is ChatMessage",
    "FetchFn": "is the caller's own",
    "MessageStore": "is the caller's own",
    "ConversationTree": "is what `tree` returns, and knows no client",
    "ModelFamily": "knows no client",
    "Secret": "reveals, where it is asked to",
    "StoredConversation": "checks a name, and knows no client",
}
"""Classes whose methods are not called, and why not."""


def takes(class_name: str, method: str, option: str) -> bool:
    """Whether a method has an option."""
    function = getattr(getattr(chatgpt, class_name), method)
    return option in inspect.signature(function).parameters


def missing_cases(package: Any) -> tuple[set[str], set[str]]:
    """The public calls of a package that have no case, and the cases of what is not public."""
    public: set[str] = set()
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) and not issubclass(value, (BaseException, dict)):
            methods = [
                method
                for method in dir(value)
                if not method.startswith("_") and inspect.isroutine(getattr(value, method))
            ]
            # `aclose` is the async twin's other name of `close`.
            public |= {
                f"{name}.{method.removeprefix('a' * (method == 'aclose'))}" for method in methods
            }
        elif inspect.isfunction(value):
            public.add(name)
        elif inspect.ismodule(value):
            public |= {
                f"{name}.{each}"
                for each in value.__all__
                if inspect.isfunction(getattr(value, each))
            }
    cases = {f"{name}.{method}" for name, calls in CALLS.items() for method in calls}
    cases |= {f"{name}.{method}" for name, methods in STORES.items() for method in methods}
    cases |= {*FUNCTIONS}
    called = {each for each in public if each.partition(".")[0] not in _SECRETLESS}
    return called - cases, cases - public
