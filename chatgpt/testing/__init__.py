"""A ChatGPT on your own machine, to test what is built on it.

    from chatgpt import ChatGPTAPI
    from chatgpt.testing import ChatGPTServer, Fault

    with ChatGPTServer(["Hello!"]) as server:
        client = ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url)
        assert client.send_message("Hi").text == "Hello!"
        assert server.requests[0].messages[-1]["content"] == "Hi"

It is a real HTTP server on the loopback interface (standard library, threads), which speaks
`/v1/chat/completions` (plain and streamed), `/v1/completions`, `/v1/models` and `/v1/moderations`
as OpenAI does, and `/api/auth/session` and `/backend-api/...` as ChatGPT's own backend does
(`server.web`), refuses what they refuse, and misbehaves on demand (`Fault`). pytest finds the
fixture `chatgpt_server` by itself; `python -m chatgpt.testing` runs a server for other programs.
"""

from chatgpt.testing.faults import Fault
from chatgpt.testing.requests import RecordedRequest
from chatgpt.testing.responders import Answer, RawAnswer, Reply, Responder, echo
from chatgpt.testing.server import DEFAULT_API_KEY, ChatGPTServer
from chatgpt.testing.web import WebBackend

__all__ = [
    "DEFAULT_API_KEY",
    "Answer",
    "ChatGPTServer",
    "Fault",
    "RawAnswer",
    "RecordedRequest",
    "Reply",
    "Responder",
    "WebBackend",
    "echo",
]
