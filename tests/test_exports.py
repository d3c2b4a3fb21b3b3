"""What the packages export, and what importing them loads."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chatgpt

PUBLIC = """
AChatGPTAPI AccountState AccountStatus APIConnectionError APIStatusError APITimeoutError AbortedError ArchiveProgress AuthenticationError BadRequestError
CancelToken
BlockedByCloudflareError ChatGPTAPI ChatGPTError ChatGPTErrorType ChatGPTPool ChatGPTSessionAPI ChatGPTUnofficialProxyAPI
ChatMessage ChatResponse ConcurrentRequestError ConfigurationError ConflictError ContentFilterError
ContentType ContextLengthError ContextReport Conversation ConversationJSONBody ConversationRecord
ConversationResponseEvent ConversationSummary ConversationTree FetchFn GetAccessTokenFn GetMessageByIdFunction
ImportProblem ImportReport ImportedConversation InternalServerError InvalidResponseError MemoryStore Message MessageActionType MessageContent
MessageFeedbackResult MessageFeedbackTag MessageIdTakenError MessageMetadata MessageNotFoundError MessageRating MessageStore
MessageStream ModelFamily Moderation ModerationsJSONResult NotFoundError PermissionDeniedError PoolError
Preview Prompt PromptContent PromptTooLongError QuotaExceededError RateLimitError RedisStore RequestChange
RequestTooLargeError Role RouteReport SQLiteStore Secret SendMessageBrowserOptions SendMessageOptions ServerOverloadedError
SessionResult StoreError StoredConversation StreamError StreamInterruptedError TokenExpiredError TreeRow UnprocessableEntityError
UnreadableMessage UnusualActivityError UpsertMessageFunction Usage User WebConversation __version__ export_messages
import_chatgpt_export import_messages openai
""".split()


def modules_after(program: str) -> set[str]:
    program += "\nimport sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_public_names() -> None:
    assert sorted(chatgpt.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(chatgpt, name) is not None
    assert set(PUBLIC) <= set(dir(chatgpt))


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'chatgpt' has no attribute 'ChatGTP'"):
        _ = chatgpt.ChatGTP  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_distribution() -> None:
    assert chatgpt.__version__ == importlib.metadata.version("chatgpt-sdk")


def test_every_public_name_is_documented() -> None:
    for name in PUBLIC:
        value = getattr(chatgpt, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
            for member, attribute in vars(value).items():
                if inspect.isfunction(attribute) and not member.startswith("_"):
                    assert inspect.getdoc(attribute), f"{name}.{member}"


def test_importing_loads_no_network_stack() -> None:
    loaded = modules_after(
        "import chatgpt; chatgpt.ChatMessage; chatgpt.ChatGPTError; chatgpt.Usage"
    )
    for module in (
        "requests",
        "urllib3",
        "ssl",
        "asyncio",
        "tiktoken",
        "httpx2",
        "anyio",
        "socket",
    ):
        assert module not in loaded, module
    assert "chatgpt" in loaded


def test_a_short_conversation_never_imports_tiktoken() -> None:
    loaded = modules_after(
        "from chatgpt import ChatGPTAPI\n"
        "from chatgpt.testing import ChatGPTServer\n"
        "with ChatGPTServer() as server:\n"
        "    client = ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url)\n"
        "    parent = None\n"
        "    for text in ('Hi', 'Grüße 你好', 'Bye'):\n"
        "        reply = client.send_message(text, parent_message_id=parent, on_progress=lambda part: None)\n"
        "        parent = reply.id\n"
        "    assert len(client.thread(parent)) == 6 and reply.usage.total_tokens\n"
    )
    assert "requests" in loaded
    for module in ("tiktoken", "asyncio", "sqlite3", "redis", "ijson"):
        assert module not in loaded, module


def test_the_plugin_of_pytest_loads_no_server() -> None:
    loaded = modules_after("import chatgpt.pytest_plugin")
    assert "chatgpt.pytest_plugin" in loaded
    assert "http.server" not in loaded


def test_the_namespace_of_the_reference() -> None:
    from chatgpt import openai

    message: openai.ChatCompletionRequestMessage = {"role": "user", "content": "hi"}
    request: openai.CreateChatCompletionRequest = {"model": "gpt-4o", "messages": [message]}
    assert request["messages"] == [message]
    assert openai.ChatCompletionRequestMessageRoleEnum.Assistant == "assistant"
    for name in (
        "ChatCompletionRequestMessage ChatCompletionResponseMessage CreateChatCompletionDeltaResponse "
        "CreateChatCompletionRequest CreateChatCompletionResponse CreateChatCompletionResponseChoicesInner "
        "CreateCompletionResponseUsage ChatCompletionRequestMessageRoleEnum ChatCompletionResponseMessageRoleEnum "
        "CreateChatCompletionRequestStop"
    ).split():
        assert name in openai.__all__


def test_the_async_twin_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx2'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'httpx2' else find(name)\n"
        "try: import chatgpt_async\n"
        "except ImportError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert re.search(r"needs .*httpx2.*pip install 'chatgpt-sdk\[async\]'", result.stdout)


def test_the_changelog_knows_the_version() -> None:
    changelog = (Path(chatgpt.__file__).parents[1] / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert "## [Unreleased]" in changelog
    assert not released or released[0] == chatgpt.__version__
