"""The twins have the same names, take the same options, and differ in what is listed here alone."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import attrs
import pytest

import chatgpt
import chatgpt.base_client
import chatgpt.base_pool
import chatgpt.base_web_clients
import chatgpt.calling
import chatgpt.client
import chatgpt.conversation
import chatgpt.listing
import chatgpt.pool
import chatgpt.pool_calls
import chatgpt.session
import chatgpt.stores.functions
import chatgpt.streams
import chatgpt.transport
import chatgpt.web_calling
import chatgpt.web_conversation
import chatgpt_async
import chatgpt_async.calling
import chatgpt_async.client
import chatgpt_async.conversation
import chatgpt_async.listing
import chatgpt_async.pool
import chatgpt_async.pool_calls
import chatgpt_async.session
import chatgpt_async.stores.functions
import chatgpt_async.streams
import chatgpt_async.transport
import chatgpt_async.web_calling
import chatgpt_async.web_conversation
from chatgpt.core.call_options import CallOptions, Question
from chatgpt.core.needs import HttpRequest, ResponseHead
from chatgpt.core.options import ClientSettings
from chatgpt.core.web.options import ProxySettings, SessionSettings, WebCallOptions

OWN = {
    "AChatGPTAPI",
    "ChatGPTAPI",
    "ChatGPTPool",
    "ChatGPTSessionAPI",
    "ChatGPTUnofficialProxyAPI",
    "Conversation",
    "FetchFn",
    "GetAccessTokenFn",
    "GetMessageByIdFunction",
    "MemoryStore",
    "MessageStore",
    "MessageStream",
    "RedisStore",
    "SQLiteStore",
    "UpsertMessageFunction",
    "WebConversation",
    "export_messages",
    "import_chatgpt_export",
    "import_messages",
}
"""What waits, or is waited for; every other name is the same object in both twins."""

CLASSES = sorted(
    name for name in OWN if inspect.isclass(getattr(chatgpt, name)) and name != "FetchFn"
)
"""`FetchFn` is the type of `session`, which differs by design: what requests and httpx2 offer."""

CLIENTS = {
    "ChatGPTAPI": chatgpt.base_client.BaseChatGPTAPI,
    "ChatGPTSessionAPI": chatgpt.base_web_clients.BaseSessionAPI,
    "ChatGPTUnofficialProxyAPI": chatgpt.base_web_clients.BaseUnofficialProxyAPI,
}
"""The clients, and where their constructors stand."""

CONSTRUCTORS = {**CLIENTS, "ChatGPTPool": chatgpt.base_pool.BasePool}
"""Whatever has a long constructor, which both twins share."""

STORES = ("MemoryStore", "MessageStore", "RedisStore", "SQLiteStore")

ADDED = {name: {"aclose"} for name in (*CONSTRUCTORS, "MessageStream", "RedisStore", "SQLiteStore")}
"""The async twin has both `close` and `aclose`."""

PLAIN = {
    *((name, "stream_message") for name in CONSTRUCTORS),
    *((name, "conversation") for name in CLIENTS),
    *((name, "route") for name in CLIENTS),
    ("ChatGPTSessionAPI", "list_conversations"),
    *((name, "all_messages") for name in STORES),
    *((name, "unreadable_messages") for name in STORES),
    ("Conversation", "stream"),
    ("Conversation", "branch"),
    ("WebConversation", "stream"),
    ("MessageStream", "result"),
}
"""Methods that wait for nothing, in both twins."""


def public_members(kind: type) -> dict[str, Any]:
    members = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return {name: value for name, value in members.items() if not name.startswith("_")}


def test_the_same_names() -> None:
    assert sorted(chatgpt.__all__) == sorted(chatgpt_async.__all__)
    assert set(chatgpt_async.__all__) <= set(dir(chatgpt_async))


@pytest.mark.parametrize("name", chatgpt.__all__)
def test_what_does_not_wait_is_the_same_object(name: str) -> None:
    is_same = getattr(chatgpt, name) is getattr(chatgpt_async, name)
    assert is_same == (name not in OWN)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'chatgpt_async' has no attribute 'ChatGTP'"):
        _ = chatgpt_async.ChatGTP  # type: ignore[attr-defined] # that is the point


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_members_with_the_same_parameters(name: str) -> None:
    ours, theirs = getattr(chatgpt, name), getattr(chatgpt_async, name)
    members, twins = public_members(ours), public_members(theirs)
    assert set(twins) - set(members) == ADDED.get(name, set())
    assert set(members) <= set(twins)
    assert parameters_of(ours.__init__) == parameters_of(theirs.__init__)
    for member, value in members.items():
        twin = twins[member]
        assert type(value) is type(twin), member
        if isinstance(value, property):
            assert inspect.getdoc(value), member
        if inspect.isfunction(value):
            assert parameters_of(value) == parameters_of(twin), member
            assert inspect.iscoroutinefunction(twin) == ((name, member) not in PLAIN), member
            assert inspect.getdoc(twin), member


@pytest.mark.parametrize("name", sorted(name for name in OWN if name.islower()))
def test_the_same_functions(name: str) -> None:
    ours, theirs = getattr(chatgpt, name), getattr(chatgpt_async, name)
    assert parameters_of(ours) == parameters_of(theirs)
    assert inspect.iscoroutinefunction(theirs)
    assert inspect.getdoc(ours) == inspect.getdoc(theirs)


def parameters_of(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults, in order."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_the_constructor_is_written_once(name: str) -> None:
    base: Any = CONSTRUCTORS[name]
    for twin in (chatgpt, chatgpt_async):
        assert getattr(twin, name).__init__ is base.__init__
    documented = inspect.getdoc(base.__init__) or ""
    for option, _, _ in parameters_of(getattr(chatgpt, name)):
        assert f"\n    {option}: " in documented, option


@pytest.mark.parametrize("twin", [chatgpt, chatgpt_async])
@pytest.mark.parametrize("name", CLIENTS)
def test_every_option_of_a_call_is_documented(twin: Any, name: str) -> None:
    send_message = getattr(twin, name).send_message
    documented = inspect.getdoc(send_message) or ""
    for option, _, _ in parameters_of(send_message)[1:]:
        assert f"\n    {option}: " in documented, option


# --- how the shells are written ----------------------------------------------------------------


def source_of(thing: Any) -> ast.AST:
    """What a class or a function says, without docstrings, and without what makes it async."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    return cast("ast.AST", ast.fix_missing_locations(_WithoutAsync().visit(tree)))


class _WithoutAsync(ast.NodeTransformer):
    names: ClassVar = {
        "aclose": "close",
        "__aenter__": "__enter__",
        "__aexit__": "__exit__",
        "__aiter__": "__iter__",
        "__anext__": "__next__",
        "AsyncIterator": "Iterator",
        "StopAsyncIteration": "StopIteration",
    }

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.visit_FunctionDef(ast.FunctionDef(**vars(node)))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        # What a caller's function returned is awaited where it has to be.
        value = node.value
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id == "completed"
        ):
            value = value.args[0]
        return self.visit(value)  # type: ignore[no-any-return] # ast says Any

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # The sync twin refuses async functions.
        if isinstance(node.func, ast.Name) and node.func.id == "plain_function":
            return self.visit(node.args[1])  # type: ignore[no-any-return] # ast says Any
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self.names.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return self.generic_visit(node)


ALIKE = [
    *((chatgpt.transport.Call, chatgpt_async.transport.Call, name) for name in ("run", "advance", "_next_parts", "close", "_close_answer")),
    *((chatgpt.streams.MessageStream, chatgpt_async.streams.MessageStream, name) for name in ("__enter__", "__exit__", "close", "_advance")),
    *((chatgpt.client.ChatGPTAPI, chatgpt_async.client.ChatGPTAPI, name) for name in ("send_message", "stream_message", "conversation", "preview", "send_moderation", "thread", "branches")),
    *((chatgpt.pool.ChatGPTPool, chatgpt_async.pool.ChatGPTPool, name) for name in ("send_message", "stream_message", "_pool_call", "_joined", "_new_store", "__enter__", "__exit__")),
    *((chatgpt.pool_calls.PoolCall, chatgpt_async.pool_calls.PoolCall, name) for name in ("__init__", "close", "_next_parts", "_ask")),
    *((chatgpt.calling.Caller, chatgpt_async.calling.Caller, name) for name in ("close", "__enter__", "__exit__", "_call", "_stream")),
    *((chatgpt.web_calling.WebCaller, chatgpt_async.web_calling.WebCaller, name) for name in ("_open", "send_message", "stream_message", "conversation")),
    *((chatgpt.conversation.Conversation, chatgpt_async.conversation.Conversation, name) for name in ("send", "stream", "regenerate", "edit", "continue_reply", "undo", "history")),
    *((chatgpt.web_conversation.WebConversation, chatgpt_async.web_conversation.WebConversation, name) for name in ("__init__", "send", "stream", "_next")),
    *((chatgpt.session.ChatGPTSessionAPI, chatgpt_async.session.ChatGPTSessionAPI, name) for name in vars(chatgpt.ChatGPTSessionAPI) if inspect.isfunction(getattr(chatgpt.ChatGPTSessionAPI, name))),
    *((chatgpt.listing.ConversationListing, chatgpt_async.listing.ConversationListing, name) for name in ("__iter__", "__next__")),
    (chatgpt.AChatGPTAPI, chatgpt_async.AChatGPTAPI, "reset_session"),
    *((chatgpt.stores.functions.FunctionStore, chatgpt_async.stores.functions.FunctionStore, name) for name in ("get", "save", "replies")),
]  # fmt: skip
ASYNC_NAMES = {name: twin for twin, name in _WithoutAsync.names.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    ALIKE,
    ids=lambda value: value if isinstance(value, str) else value.__module__,
)
def test_a_loop_is_alike_in_both_twins(ours: type, theirs: type, name: str) -> None:
    """Without `await`, the async twin's says the very same."""
    twin = vars(theirs)[ASYNC_NAMES.get(name, name)]
    assert ast.unparse(source_of(twin)) == ast.unparse(source_of(vars(ours)[name]))


@pytest.mark.parametrize(
    "shells",
    [
        (chatgpt.transport.Call, chatgpt_async.transport.Call),
        (chatgpt.pool_calls.PoolCall, chatgpt_async.pool_calls.PoolCall),
    ],
)
def test_the_needs_are_met_alike(shells: tuple[type, type]) -> None:
    """The same needs are known to both, in the same order."""
    kinds = [
        [ast.unparse(case.pattern) for case in ast.walk(source_of(vars(shell)["_met" if "_met" in vars(shell) else "_meet"])) if isinstance(case, ast.match_case)]
        for shell in shells
    ]  # fmt: skip
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) > 3


SHELLS = [
    Path(package.__file__ or "").parent / f"{name}.py"
    for package in (chatgpt, chatgpt_async)
    for name in (
        "calling",
        "client",
        "conversation",
        "listing",
        "pool",
        "pool_calls",
        "proxy",
        "session",
        "streams",
        "transport",
        "web_calling",
        "web_conversation",
    )
]
DECIDED_IN_THE_CORE = {
    field.name.lstrip("_")
    for kind in (
        HttpRequest,
        ResponseHead,
        CallOptions,
        Question,
        ClientSettings,
        ProxySettings,
        SessionSettings,
        WebCallOptions,
        chatgpt.ChatMessage,
    )
    for field in attrs.fields(kind)
} - {"proxy"}  # of a route, on which routes.py has decided


@pytest.mark.parametrize("path", SHELLS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_rule_stands_in_a_shell(path: Path) -> None:
    """No condition asks for a status, a header, an option, or what a message says."""
    assert rules_in(path.read_text()) == []


def rules_in(source: str) -> list[str]:
    """The conditions that ask for what the core decides on."""
    found = []
    for condition in conditions_of(ast.parse(source)):
        asked = {node.attr for node in ast.walk(condition) if isinstance(node, ast.Attribute)}
        asked |= {node.id for node in ast.walk(condition) if isinstance(node, ast.Name)}
        if {name.lstrip("_") for name in asked} & DECIDED_IN_THE_CORE:
            found.append(ast.unparse(condition))
    return found


def conditions_of(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield node.test
        elif isinstance(node, (ast.BoolOp, ast.Compare)):
            yield node
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.match_case) and node.guard is not None:
            yield node.guard
        elif isinstance(node, ast.Match):
            yield node.subject
        elif isinstance(node, ast.Subscript):  # a table is a condition, too
            yield node.slice


@pytest.mark.parametrize(
    "source",
    [
        "if head.status == 429: wait()",
        "wait() if response.headers.get('retry-after') else go_on()",
        "while options.model: ...",
        "match head.status:\n    case 429: wait()",
        "match need:\n    case Send() if need.request.url: ...",
        "RULES[head.status]()",
        "[part for part in parts if part.text]",
        "is_slow = settings.timeout > 5",
    ],
)
def test_a_rule_in_a_shell_would_be_found(source: str) -> None:
    assert rules_in(source) != []
