"""What is the async twin's own about the client; what is common to both is tested in tests/test_client.py."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from chatgpt.testing import Answer, ChatGPTServer
from chatgpt_async import ChatGPTAPI, ChatGPTError
from tests.test_exports import modules_after


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["for the prompt", "for the usage"])
async def test_loading_a_vocabulary_does_not_block_the_loop(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    loaded: list[tuple[str, bool]] = []
    loop_thread = threading.get_ident()

    def load(encoding: str) -> Callable[[str], int]:
        loaded.append((encoding, threading.get_ident() == loop_thread))
        return lambda text: len(text.split())

    monkeypatch.setattr("chatgpt_async.transport.load_tokenizer", load)
    monkeypatch.setattr("chatgpt.surroundings.load_tokenizer", None)
    chatgpt_server.replies = [Answer(text="Hello there!", has_usage=when == "for the prompt")]
    async with ChatGPTAPI(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        max_model_tokens=500 if when == "for the prompt" else None,
        max_response_tokens=400 if when == "for the prompt" else None,
        system_message="",
    ) as client:
        usage = (await client.send_message("x" * 300)).usage
    assert loaded == [("o200k_base", False)]
    assert usage is not None
    assert usage.estimated == (when == "for the usage")


def test_importing_and_using_it_loads_no_requests() -> None:
    loaded = modules_after(
        "import asyncio\n"
        "import chatgpt_async\n"
        "from chatgpt_async import ChatGPTAPI, ChatMessage, Usage, openai\n"
        "from chatgpt.testing import ChatGPTServer\n"
        "async def main(server):\n"
        "    async with ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url) as client:\n"
        "        reply = await client.send_message('Hi', on_progress=lambda part: None)\n"
        "        assert reply.usage.total_tokens\n"
        "with ChatGPTServer() as server:\n"
        "    asyncio.run(main(server))\n"
    )
    assert "httpx2" in loaded
    assert "requests" not in loaded
    assert "urllib3" not in loaded
    assert "tiktoken" not in loaded


def test_importing_the_package_loads_no_network_stack() -> None:
    loaded = modules_after("import chatgpt_async; chatgpt_async.ChatMessage; chatgpt_async.Usage")
    assert not loaded & {"httpx2", "anyio", "requests", "ssl", "asyncio", "socket"}


@pytest.mark.anyio
async def test_a_client_shows_what_it_is(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    assert (
        repr(client) == f"<ChatGPTAPI, gpt-5.4-mini at {chatgpt_server.base_url}/chat/completions>"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["http", "https"], ids=["refused", "without certificates"])
async def test_a_call_while_an_error_is_handled(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The caller's own error is none of the call's, and stays as it was."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
    own = FileNotFoundError(2, "mine")
    async with ChatGPTAPI(api_base_url=f"{scheme}://127.0.0.1:9/v1", max_retries=0) as client:
        with pytest.raises(FileNotFoundError) as caught:
            try:
                raise own
            except FileNotFoundError:
                with pytest.raises(ChatGPTError, match="refused|no certificate") as told:
                    await client.send_message("hi")
                assert own.__traceback__ is not None
                raise
    assert caught.value is own
    assert "mine" not in str(told.value)
    assert told.value.__cause__ is not own
