"""The loopback server by itself, asked with requests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest
import requests

from chatgpt.testing import Answer, ChatGPTServer, Fault, RawAnswer

HI = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def post(
    server: ChatGPTServer, path: str = "/chat/completions", body: Any = None, **options: Any
) -> requests.Response:
    headers = {"authorization": f"Bearer {server.api_key}"}
    return requests.post(
        server.base_url + path,
        **{"json": HI if body is None else body, "headers": headers, **options},
    )


def test_a_completion(chatgpt_server: ChatGPTServer) -> None:
    answer = post(chatgpt_server).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4o"
    assert (
        answer["choices"][0]["message"]["content"]
        == "You said: Hi That is the first message of our conversation."
    )
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 1


def test_a_stream(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [Answer(text="one two", reasoning="hm")]
    response = post(
        chatgpt_server, body={**HI, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [event.removeprefix("data: ") for event in response.text.split("\n\n")]
    assert data[-2:] == ["[DONE]", ""]
    chunks = [json.loads(item) for item in data[:-2]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "one"},
        {"content": " two"},
        {},
    ]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_text_completions(chatgpt_server: ChatGPTServer) -> None:
    body = {"model": "davinci-002", "prompt": "Once"}
    assert (
        post(chatgpt_server, "/completions", body).json()["choices"][0]["text"]
        == "You wrote 'Once'."
    )
    streamed = post(chatgpt_server, "/completions", {**body, "stream": True}).text
    texts = re.findall(r'"text": "([^"]*)"', streamed)
    assert "".join(texts) == "You wrote 'Once'."


def test_models_and_moderations(chatgpt_server: ChatGPTServer) -> None:
    headers = {"authorization": "Bearer sk-test"}
    models = requests.get(chatgpt_server.base_url + "/models", headers=headers).json()
    assert [model["id"] for model in models["data"]] == list(chatgpt_server.models)
    assert not post(chatgpt_server, "/moderations", {"input": "hi"}).json()["results"][0]["flagged"]


@pytest.mark.parametrize(
    ("path", "options", "status", "code", "param"),
    [
        ("/chat/completions", {"headers": {}}, 401, "invalid_api_key", None),
        (
            "/chat/completions",
            {"headers": {"authorization": "Bearer sk-bad"}},
            401,
            "invalid_api_key",
            None,
        ),
        ("/nowhere", {}, 404, None, None),
        ("/chat/completions", {"json": None, "data": "{"}, 400, None, None),
        ("/chat/completions", {"json": [1]}, 400, None, None),
        ("/chat/completions", {"json": {"messages": [1]}}, 400, None, "model"),
        ("/chat/completions", {"json": {"model": "m"}}, 400, None, "messages"),
        ("/completions", {"json": {"model": "m"}}, 400, None, "prompt"),
        ("/chat/completions", {"json": {**HI, "temperature": None}}, 400, None, "temperature"),
        ("/chat/completions", {"json": {**HI, "stream_options": {}}}, 400, None, "stream_options"),
        (
            "/chat/completions",
            {"json": {**HI, "stream": True, "stream_options": [1]}},
            400,
            None,
            "stream_options",
        ),
        ("/chat/completions", {"json": None, "data": "[" * 100_000}, 400, None, None),
        ("/moderations", {"json": {"input": 1}}, 400, None, "input"),
    ],
)
def test_what_it_refuses(
    chatgpt_server: ChatGPTServer,
    path: str,
    options: Any,
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    response = post(chatgpt_server, path, **options)
    error = response.json()["error"]
    assert response.status_code == status
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)


def test_any_key_or_none() -> None:
    with ChatGPTServer(api_key=None) as server:
        assert post(server, headers={}).ok


def test_replies_in_order_and_what_follows() -> None:
    with ChatGPTServer(["one", Answer(text="two", finish_reason="length")]) as server:
        assert post(server).json()["choices"][0]["message"]["content"] == "one"
        assert post(server).json()["choices"][0]["finish_reason"] == "length"
        response = post(server)
        assert response.status_code == 500
        assert (
            "All 2 replies of this server were given already" in response.json()["error"]["message"]
        )


def test_a_function_sees_the_request(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = lambda request: str(request.messages[-1]["content"]).upper()
    assert post(chatgpt_server).json()["choices"][0]["message"]["content"] == "HI"
    (recorded,) = chatgpt_server.requests
    assert (recorded.method, recorded.path, recorded.api_key) == (
        "POST",
        "/v1/chat/completions",
        "sk-test",
    )
    assert recorded.json == HI
    assert not recorded.is_disconnected


def test_faults_come_in_order(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(
        Fault(status=418), Fault(status=503, body="busy", headers={"Retry-After": "1"})
    )
    assert post(chatgpt_server).status_code == 418
    second = post(chatgpt_server)
    assert (second.status_code, second.text, second.headers["retry-after"]) == (503, "busy", "1")
    assert post(chatgpt_server).ok


def test_faults_of_the_connection(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(
        Fault(reset=True), Fault(cut_after=10), Fault(cut_after=10, framing="length")
    )
    for _ in range(3):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            post(chatgpt_server, body={**HI, "stream": True})


def test_framings(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(
        Fault(framing="close"), Fault(framing="chunked", split_every=3), Fault(gzip=True)
    )
    closed, chunked, compressed = (post(chatgpt_server) for _ in range(3))
    assert closed.headers["connection"] == "close"
    assert chunked.headers["transfer-encoding"] == "chunked"
    assert compressed.headers["content-encoding"] == "gzip"
    for response in (closed, chunked, compressed):
        assert response.json()["object"] == "chat.completion"


def test_a_raw_answer(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [
        RawAnswer([b"HTTP/1.1 200 OK\r\ncontent-", b"length: 2\r\n\r\nok"], pause=0.01)
    ]
    assert post(chatgpt_server).text == "ok"


def test_parts_of_an_answer() -> None:
    assert Answer(text=" a  b\nc ").deltas == [" a", "  b", "\nc "]
    assert Answer(text="").deltas == []
    assert Answer(text="  ").deltas == ["  "]
    assert Answer(parts=["x", "y"]).whole_text == "xy"


def test_stopping_twice_and_a_port_of_ones_own() -> None:
    server = ChatGPTServer().start()
    port = server.port
    server.stop()
    with ChatGPTServer(port=port) as again:
        assert again.port == port


def test_a_server_that_does_not_run_refuses_at_once() -> None:
    server = ChatGPTServer()
    with pytest.raises(requests.ConnectionError, match="refused"):
        post(server)
    server.start()
    with pytest.raises(RuntimeError, match="started before"):
        server.start()
    server.stop()
    with pytest.raises(RuntimeError, match="started before"):
        server.start()
    with pytest.raises(requests.ConnectionError, match="refused"):
        post(server)


def test_what_it_is_given_is_checked(chatgpt_server: ChatGPTServer) -> None:
    with pytest.raises(TypeError, match="inject takes Fault"):
        chatgpt_server.inject(429)  # type: ignore[arg-type]
    for wrong in ({"split_every": -1}, {"split_every": 0}, {"delay": -1}, {"cut_after": -1}):
        with pytest.raises(ValueError, match="must be >="):
            Fault(**wrong)  # type: ignore[arg-type]
    for replies in ("Hello", 5):
        with pytest.raises(
            TypeError, match="replies must be a function, a list of replies or None"
        ):
            ChatGPTServer(replies)  # type: ignore[arg-type]
    chatgpt_server.replies = lambda _: None  # type: ignore[assignment, return-value]
    response = post(chatgpt_server)
    assert response.status_code == 500
    assert "a reply must be a str, an Answer or a RawAnswer, not NoneType" in response.text
    assert response.headers["x-should-retry"] == "false"
    assert repr(chatgpt_server) == f"<ChatGPTServer at {chatgpt_server.base_url}, 1 requests>"


def test_models_that_are_given_are_the_only_ones() -> None:
    with ChatGPTServer(models=["gpt-4o"]) as server:
        assert post(server).ok
        response = post(server, body={**HI, "model": "gtp-4o"})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_a_port_that_cannot_be_had() -> None:
    for port in ("80000", "notaport"):
        result = subprocess.run(
            [sys.executable, "-m", "chatgpt.testing", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_stopping_does_not_wait_for_a_client(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(Fault(part_delay=60))
    with requests.Session() as session:
        response = session.post(
            chatgpt_server.base_url + "/chat/completions", json={**HI, "stream": True}, stream=True,
            headers={"authorization": "Bearer sk-test"},
        )  # fmt: skip
        begin = time.monotonic()
        chatgpt_server.stop()
        assert time.monotonic() - begin < 5
        response.close()


def test_as_a_program() -> None:
    arguments = [sys.executable, "-m", "chatgpt.testing", "--reply", "Hello!", "--any-key"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = requests.post(url + "/chat/completions", json=HI)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello!"
        process.terminate()
        assert process.wait(10) == 0


def test_the_fixture_comes_with_the_package(tmp_path: Any) -> None:
    test = tmp_path / "test_bot.py"
    test.write_text(
        "from chatgpt import ChatGPTAPI\n"
        "def test_bot(chatgpt_server):\n"
        "    chatgpt_server.replies = ['Hello!']\n"
        "    client = ChatGPTAPI(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url)\n"
        "    assert client.send_message('Hi').text == 'Hello!'\n"
        "    client.close()\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_parameters_and_prompts_that_are_refused(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.refused_parameters = ["temperature", "stream"]
    chatgpt_server.context_length = 100
    chatgpt_server.count_tokens = lambda request: 10 * len(request.messages)
    assert post(chatgpt_server).json()["usage"]["prompt_tokens"] == 10
    for given, param, code in (
        ({"temperature": 1}, "temperature", "unsupported_parameter"),
        ({"stream": True}, "stream", "unsupported_value"),
        ({"max_tokens": 95}, "messages", "context_length_exceeded"),
        ({"messages": HI["messages"] * 11}, "messages", "context_length_exceeded"),  # type: ignore[operator] # a list
    ):
        response = post(chatgpt_server, body={**HI, **given})
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert post(chatgpt_server, body={**HI, "stream": False}).status_code == 200


def test_a_function_that_fails_to_count_is_told(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.count_tokens = lambda request: 1 // len(request.messages[1:])
    response = post(chatgpt_server)
    assert response.status_code == 500
    assert "count_tokens failed: ZeroDivisionError" in response.json()["error"]["message"]
    with pytest.raises(TypeError, match="a collection of names, not a str"):
        ChatGPTServer(refused_parameters="temperature")
