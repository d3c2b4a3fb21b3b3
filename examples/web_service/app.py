"""A chat bot behind a web service: answers stream to the page as they are written.

What it shows:

- One client for the life of the application, made and closed by its lifespan. Each visitor has a conversation,
  whose id is in a cookie; its messages are in a SQLite file, so that they outlive the service.
- Server-sent events, read by `fetch` and not by `EventSource`: the message travels in the body of a POST, where no log
  and no limit of a URL meets it; and an `EventSource` that loses its connection would ask the same again by itself.
- Whoever goes away, by the button Stop or by closing the page, ends the answer at once, on OpenAI's side, too.
- Once the head of an answer is sent, an error is an event that names its kind. The log has the rest; no secret is in
  either.

How to run it, with the server that comes with the package:

    chatgpt serve --port 8080 &     # `pip install 'chatgpt-sdk[async,cli]' starlette uvicorn`
    export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=sk-test
    uvicorn --app-dir examples/web_service app:app --port 8000

With OpenAI, `OPENAI_API_KEY=sk-...` alone. `CHAT_STORE` says where the conversations are kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, TypedDict
from uuid import uuid4

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chatgpt import APITimeoutError, ChatGPTError, PromptTooLongError, RateLimitError
from chatgpt_async import ChatGPTAPI, SQLiteStore

PAGE: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
COOKIE: Final = "conversation"
LONGEST_MESSAGE: Final = 8_000
"""In characters."""
LARGEST_BODY: Final = 64 * 1024
"""In bytes; a body that does not say how long it is is refused."""

logger = logging.getLogger("web_service")


class State(TypedDict):
    """What the application has for its whole life."""

    client: ChatGPTAPI
    store: SQLiteStore


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Make the client and its store, and close them in the end."""
    path = os.environ.get("CHAT_STORE", "web_service.db")
    async with SQLiteStore(path) as store, ChatGPTAPI(message_store=store) as client:
        yield {"client": client, "store": store}


# --- answers as events ----------------------------------------------------------------------------


class EventStream(Response):
    """A stream of server-sent events, which ends as soon as nobody reads it any more.

    Starlette's `StreamingResponse` does so where the server speaks ASGI 2.3, as uvicorn does; from 2.4 on it notices only
    when it sends the next event, which may be long after.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        # A proxy must not keep events back; nginx obeys the second header.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until there are no more or nobody reads them."""

        async def cancel_when_gone(answering: anyio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            answering.cancel()

        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async with anyio.create_task_group() as tasks, aclosing(self._events) as events:
            tasks.start_soon(cancel_when_gone, tasks.cancel_scope)
            async for event in events:
                body = {"type": "http.response.body", "body": event.encode(), "more_body": True}
                await send(body)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()


def event(name: str, **data: object) -> str:
    """Write a server-sent event, whose data is a JSON object."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def excuse(error: ChatGPTError) -> str:
    """Say to a visitor what an error means for him; the rest is for the log."""
    if isinstance(error, RateLimitError):
        return "Too many questions at the moment. Try again in a while."
    if isinstance(error, APITimeoutError):
        return "The answer took too long."
    if isinstance(error, PromptTooLongError):
        return "The message is too long."
    return "The answer could not be made."


async def answer(
    client: ChatGPTAPI, text: str, conversation_id: str, parent_message_id: str | None
) -> AsyncGenerator[str, None]:
    """Ask, and give the events `part` (again and again), and in the end `done` or `failed`."""
    try:
        async with client.stream_message(
            text, conversation_id=conversation_id, parent_message_id=parent_message_id
        ) as stream:
            async for part in stream:
                if part.delta:
                    yield event("part", delta=part.delta)
        yield event("done", finish_reason=stream.result().finish_reason)
    except ChatGPTError as error:
        logger.warning("%s: %s (request %s)", type(error).__name__, error, error.request_id)
        yield event("failed", kind=type(error).__name__, message=excuse(error))


# --- the routes -----------------------------------------------------------------------------------


def given_text(body: bytes) -> str | None:
    """The text of a message that was posted; `None` where there is none that can be sent."""
    try:
        text = json.loads(body)["text"]
    except (ValueError, LookupError, TypeError):
        return None
    return text if isinstance(text, str) and 0 < len(text.strip()) <= LONGEST_MESSAGE else None


async def last_message_id(request: Request) -> str | None:
    """Where the visitor's conversation stands; `None` if it is new."""
    conversation_id = request.cookies.get(COOKIE)
    if not conversation_id:
        return None
    store: SQLiteStore = request.state.store
    for found in await store.find_conversations(conversation_id):
        if found.id == conversation_id:  # the beginning of another one's is not enough
            return found.last_message_id
    return None


async def send_message(request: Request) -> Response:
    """Answer a message: `{"text": "..."}` in, events out."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return JSONResponse({"message": "The message is too long."}, status_code=413)
    text = given_text(await request.body())
    if text is None:
        message = f"A message has between 1 and {LONGEST_MESSAGE} characters."
        return JSONResponse({"message": message}, status_code=400)

    parent_message_id = await last_message_id(request)
    conversation_id = request.cookies.get(COOKIE) if parent_message_id else None
    if conversation_id is None:
        conversation_id = str(uuid4())  # never one that a visitor made up
    response = EventStream(answer(request.state.client, text, conversation_id, parent_message_id))
    response.set_cookie(
        COOKIE,
        conversation_id,
        max_age=30 * 86_400,
        httponly=True,  # out of reach of scripts
        samesite="strict",  # and of other sites
        secure=request.url.scheme == "https",
    )
    return response


async def list_messages(request: Request) -> Response:
    """Give the visitor's conversation so far, for a page that was loaded again."""
    message_id = await last_message_id(request)
    client: ChatGPTAPI = request.state.client
    thread = await client.thread(message_id) if message_id else []
    messages = [{"role": message.role, "text": message.text} for message in thread]
    return JSONResponse(messages, headers={"cache-control": "no-store"})


async def forget_messages(request: Request) -> Response:
    """Delete the visitor's conversation, for good."""
    if await last_message_id(request):
        store: SQLiteStore = request.state.store
        await store.delete_conversation(request.cookies[COOKIE])
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


def content_security_policy(page: str) -> str:
    """Allow what the page itself holds, and nothing else: no other script, style or host."""
    allowed = {}
    for name in ("script", "style"):
        found = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert found is not None
        digest = hashlib.sha256(found[1].encode()).digest()
        allowed[name] = f"{name}-src 'sha256-{base64.b64encode(digest).decode()}'"
    rest = (
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"{rest}; frame-ancestors 'none'; {allowed['script']}; {allowed['style']}"


PAGE_HEADERS: Final = {"content-security-policy": content_security_policy(PAGE)}


async def show_page(_: Request) -> Response:
    """Give the page."""
    return HTMLResponse(PAGE, headers=PAGE_HEADERS)


app = Starlette(
    routes=[
        Route("/", show_page),
        Route("/messages", list_messages, methods=["GET"]),
        Route("/messages", send_message, methods=["POST"]),
        Route("/messages", forget_messages, methods=["DELETE"]),
    ],
    lifespan=lifespan,
)
