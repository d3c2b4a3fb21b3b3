"""A chat bot behind a web service: answers stream to the page as they are written.

What it shows:

- One client for the life of the application, made and closed by its lifespan. Each visitor has a conversation,
  whose id is in a cookie; its messages are in a SQLite file, so that they outlive the service.
- Server-sent events, read by `fetch` and not by `EventSource`: the message travels in the body of a POST, where no log
  and no limit of a URL meets it; and an `EventSource` that loses its connection would ask the same again by itself.
- Whoever goes away, by the button Stop or by closing the page, ends the answer at once, on OpenAI's side, too.
- No other site can ask in a visitor's name, or make him forget: the cookie is `Strict`, only JSON is a message, and where
  a browser says which site asks, it must be this one.
- Once the head of an answer is sent, an error is an event that names its kind. The log has the rest; no secret is in
  either.

How to run it, with the server that comes with the package:

    python -m chatgpt.testing --port 8080 &     # `pip install 'chatgpt-sdk[async]' starlette uvicorn`
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
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from chatgpt import APITimeoutError, ChatGPTError, PromptTooLongError, RateLimitError
from chatgpt_async import ChatGPTAPI, SQLiteStore

PAGE: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
COOKIE: Final = "conversation"
LONGEST_MESSAGE: Final = 8_000
"""In characters."""
LARGEST_BODY: Final = 12 * LONGEST_MESSAGE + 1024
"""In bytes, of which JSON has up to 12 for a character; a body that does not say how long it is is refused."""

logger = logging.getLogger("web_service")


class State(TypedDict):
    """What the application has for its whole life."""

    client: ChatGPTAPI
    store: SQLiteStore
    running: set[EventStream]


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Make the client and its store, and close them in the end."""
    path = os.environ.get("CHAT_STORE", "web_service.db")
    async with SQLiteStore(path) as store, ChatGPTAPI(message_store=store) as client:
        yield {"client": client, "store": store, "running": set()}


# --- answers as events ----------------------------------------------------------------------------


class EventStream(Response):
    """A stream of server-sent events, which ends as soon as nobody reads it any more, or when it is stopped.

    Starlette's `StreamingResponse` does so where the server speaks ASGI 2.3, as uvicorn does; from 2.4 on it notices only
    when it sends the next event, which may be long after.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[str, None], conversation_id: str, running: set[EventStream]
    ) -> None:
        # A proxy must not keep events back; nginx obeys the second header.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.conversation_id = conversation_id
        self._events = events
        self._answering, self._ended = anyio.CancelScope(), anyio.Event()
        self._running = running
        running.add(self)

    async def stop(self) -> None:
        """End it, and wait until nothing of it goes on."""
        self._answering.cancel()
        await self._ended.wait()

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until there are no more or nobody reads them."""

        async def cancel_when_gone(sending: anyio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            sending.cancel()

        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_gone, tasks.cancel_scope)
            try:
                with self._answering:
                    await send(head)
                    async with aclosing(self._events) as events:
                        async for event in events:
                            await send(body_of(event, more=True))
            finally:
                self._running.remove(self)
                self._ended.set()
            await send(body_of("", more=False))
            tasks.cancel_scope.cancel()


def body_of(text: str, *, more: bool) -> Message:
    """Write a piece of a response for the server."""
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


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


async def last_message_id(store: SQLiteStore, conversation_id: str) -> str | None:
    """Where a conversation stands; `None` if nothing was said yet."""
    for found in await store.find_conversations(conversation_id):
        if found.id == conversation_id:  # the beginning of another one's is not enough
            return found.last_message_id
    return None


async def answer(
    client: ChatGPTAPI, store: SQLiteStore, text: str, conversation_id: str
) -> AsyncGenerator[str, None]:
    """Ask, and give the events `part` (again and again), and in the end `done` or `failed`."""
    try:
        parent_message_id = await last_message_id(store, conversation_id)
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


def refuse_other_sites(request: Request) -> None:
    """Refuse what a browser says that another site sends; where it is silent, the cookie and JSON are what holds."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "Only the page of this service may ask for this.")


async def given_text(request: Request) -> str:
    """The text of a message that was posted; refuses what is none."""
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        # A form of another site can send text that is JSON, but not call it so.
        raise HTTPException(415, "A message is JSON, and its Content-Type says application/json.")
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        raise HTTPException(413, "The message is too long.")
    try:
        text: str = json.loads(await request.body())["text"]
        text.encode()  # half of a surrogate pair is no text
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise HTTPException(400, 'A message is JSON: {"text": "..."}.') from None
    if not 0 < len(text.strip()) <= LONGEST_MESSAGE:
        raise HTTPException(400, f"A message has between 1 and {LONGEST_MESSAGE} characters.")
    return text


def conversation_of(request: Request) -> str:
    """The id of the visitor's conversation: that of his cookie, or a new one."""
    cookie = request.cookies.get(COOKIE, "")
    return cookie if re.fullmatch("[0-9a-f-]{36}", cookie) else str(uuid4())


def set_cookie(response: Response, request: Request, conversation_id: str) -> None:
    """Let the visitor keep the id of his conversation."""
    response.set_cookie(
        COOKIE,
        conversation_id,
        max_age=30 * 86_400,
        httponly=True,  # out of reach of scripts
        samesite="strict",  # and of other sites
        secure=request.url.scheme == "https",
    )


async def send_message(request: Request) -> Response:
    """Answer a message: `{"text": "..."}` in, events out."""
    refuse_other_sites(request)
    text = await given_text(request)
    conversation_id = conversation_of(request)
    events = answer(request.state.client, request.state.store, text, conversation_id)
    response = EventStream(events, conversation_id, request.state.running)
    set_cookie(response, request, conversation_id)
    return response


async def list_messages(request: Request) -> Response:
    """Give the visitor's conversation so far, for a page that was loaded, maybe for the first time."""
    refuse_other_sites(request)
    conversation_id = conversation_of(request)
    message_id = await last_message_id(request.state.store, conversation_id)
    client: ChatGPTAPI = request.state.client
    thread = await client.thread(message_id) if message_id else []
    messages = [{"role": message.role, "text": message.text} for message in thread]
    response = JSONResponse(messages, headers={"cache-control": "no-store"})
    if "sec-fetch-site" in request.headers:
        # So two pages of a new visitor have one conversation. A link of another site comes without his cookie, and must
        # not replace it: a browser that does not say who asks gets one with its first answer.
        set_cookie(response, request, conversation_id)
    return response


async def forget_messages(request: Request) -> Response:
    """Delete the visitor's conversation, for good, and begin another one."""
    refuse_other_sites(request)
    conversation_id = conversation_of(request)
    running: set[EventStream] = request.state.running
    store: SQLiteStore = request.state.store
    while True:
        # What another page asks, before or in the meantime, would be saved after this.
        for stream in [each for each in running if each.conversation_id == conversation_id]:
            await stream.stop()
        if not await last_message_id(store, conversation_id):
            break
        await store.delete_conversation(conversation_id)
    response = Response(status_code=204)
    set_cookie(response, request, str(uuid4()))
    return response


async def refuse(_: Request, error: Exception) -> Response:
    """Say why a request is refused."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)


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
    exception_handlers={HTTPException: refuse},
)
