"""The clients that are compared, all doing the same: they ask for a plain reply, and for a stream.

Strategy: what a client is made with is imported when it is made, so that this is part of what is measured. The scenarios
(`calls.py` and its like) say what is done with a client, in a process of its own (`client_process.py`).

Rules:

1. This file loads only what costs next to nothing.
2. Each client is used as its documentation does it, with its own defaults, and gives back the whole text.
3. The floors do what nothing built on the same libraries can do without. `requests` reads a plain reply by itself, so
   `sseclient` is loaded for the first stream. `httpx2` allows fewer connections than `openai` does with it, and less time;
   so it is given the same.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

KEY = "sk-loopback-0123456789abcdef"
MODEL = "gpt-5.4-mini"
QUESTION = "What is a monad?"
MESSAGES = [{"role": "user", "content": QUESTION}]
"""The prompt of those that keep no threads."""

Client = tuple[Callable[[int], str], Callable[[], str]]
"""Two functions. One asks so many times, one after the other, and returns the last text; one asks once, for a stream, and
returns the text of its parts."""

AsyncClient = tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[str]]]
"""Two functions. One asks once, and returns the text; one asks once, for a stream, and returns the text of its parts."""


def blocking(ask: Callable[[], str], stream: Callable[[], str]) -> Client:
    """A sync client, of what asks once and what streams once."""

    def ask_often(times: int) -> str:
        for _ in range(times):
            text = ask()
        return text

    return ask_often, stream


def awaited(ask: Callable[[], Awaitable[str]], stream: Callable[[], Awaitable[str]]) -> Client:
    """An async client, on an event loop of its own, which is imported here."""
    import asyncio

    runner = asyncio.Runner()

    async def ask_often(times: int) -> str:
        for _ in range(times):
            text = await ask()
        return text

    async def stream_once() -> str:
        return await stream()

    return lambda times: runner.run(ask_often(times)), lambda: runner.run(stream_once())


def make_chatgpt(url: str, **options: Any) -> Client:
    """`chatgpt`: the default store and options, unless others are given."""
    from chatgpt import ChatGPTAPI

    client = ChatGPTAPI(api_key=KEY, api_base_url=url, **options)

    def stream() -> str:
        with client.stream_message(QUESTION) as stream:
            return "".join([part.delta or "" for part in stream])

    return blocking(lambda: client.send_message(QUESTION).text, stream)


def make_chatgpt_async(url: str, **options: Any) -> AsyncClient:
    """`chatgpt_async`: the default store and options, unless others are given."""
    from chatgpt_async import ChatGPTAPI

    client = ChatGPTAPI(api_key=KEY, api_base_url=url, **options)

    async def ask() -> str:
        return (await client.send_message(QUESTION)).text

    async def stream() -> str:
        async with client.stream_message(QUESTION) as stream:
            return "".join([part.delta or "" async for part in stream])

    return ask, stream


def make_openai(url: str) -> Client:
    """`openai`."""
    from openai import OpenAI  # type: ignore[import-not-found,unused-ignore] # in the extra `bench` alone

    create: Any = OpenAI(api_key=KEY, base_url=url).chat.completions.create

    def stream() -> str:
        with create(model=MODEL, messages=MESSAGES, stream=True) as stream:
            return "".join([chunk.choices[0].delta.content or "" for chunk in stream])

    return blocking(
        lambda: create(model=MODEL, messages=MESSAGES).choices[0].message.content, stream
    )


def make_openai_async(url: str) -> AsyncClient:
    """`openai`, async."""
    from openai import AsyncOpenAI

    create: Any = AsyncOpenAI(api_key=KEY, base_url=url).chat.completions.create

    async def ask() -> str:
        reply = await create(model=MODEL, messages=MESSAGES)
        return str(reply.choices[0].message.content)

    async def stream() -> str:
        async with await create(model=MODEL, messages=MESSAGES, stream=True) as stream:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return ask, stream


def make_litellm(url: str) -> Client:
    """`litellm`: functions, there is no client to be made."""
    from litellm import completion  # type: ignore[import-not-found,unused-ignore] # as openai

    complete: Any = completion
    options = {"model": f"openai/{MODEL}", "api_key": KEY, "api_base": url}

    def stream() -> str:
        chunks = complete(messages=MESSAGES, stream=True, **options)
        return "".join([chunk.choices[0].delta.content or "" for chunk in chunks])

    return blocking(
        lambda: complete(messages=MESSAGES, **options).choices[0].message.content, stream
    )


def make_litellm_async(url: str) -> AsyncClient:
    """`litellm`, async."""
    from litellm import acompletion

    complete: Any = acompletion
    options = {"model": f"openai/{MODEL}", "api_key": KEY, "api_base": url}

    async def ask() -> str:
        reply = await complete(messages=MESSAGES, **options)
        return str(reply.choices[0].message.content)

    async def stream() -> str:
        chunks = await complete(messages=MESSAGES, stream=True, **options)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    return ask, stream


def make_floor(url: str) -> Client:
    """What nothing made with `requests` and `sseclient` can be faster than."""
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    url += "/chat/completions"

    def ask() -> str:
        return text_of(session.post(url, json={"model": MODEL, "messages": MESSAGES}).json())

    def stream() -> str:
        import sseclient

        request = {"model": MODEL, "messages": MESSAGES, "stream": True}
        with session.post(url, json=request, stream=True) as response:
            events = sseclient.SSEClient(response.iter_content(None)).events()
            return "".join(pieces(event.data for event in events))

    return blocking(ask, stream)


def make_floor_async(url: str) -> AsyncClient:
    """What nothing made with `httpx2` can be faster than."""
    import httpx2

    client = httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {KEY}"},
        limits=httpx2.Limits(max_connections=1_000, max_keepalive_connections=100),
        timeout=httpx2.Timeout(600, connect=5),
    )
    url += "/chat/completions"

    async def ask() -> str:
        response = await client.post(url, json={"model": MODEL, "messages": MESSAGES})
        return text_of(response.json())

    async def stream() -> str:
        request = {"model": MODEL, "messages": MESSAGES, "stream": True}
        text: list[str] = []
        rest = b""
        async with client.stream("POST", url, json=request) as response:
            async for received in response.aiter_bytes():
                *events, rest = (rest + received).split(b"\n\n")
                text.extend(pieces(event[len(b"data: ") :] for event in events))
        return "".join(text)

    return ask, stream


def make_bounded_floor(url: str) -> AsyncClient:
    """The same with as many streams at once as `chatgpt_async` has connections; the others wait."""
    import asyncio

    ask, stream_unbounded = make_floor_async(url)
    free = asyncio.Semaphore(256)

    async def stream() -> str:
        async with free:
            return await stream_unbounded()

    return ask, stream


def on_a_loop(make: Callable[[str], AsyncClient]) -> Callable[[str], Client]:
    """What makes an async client that is used from a program that is not async."""
    return lambda url: awaited(*make(url))


ASYNC_CLIENTS: dict[str, Callable[[str], AsyncClient]] = {
    "chatgpt_async": make_chatgpt_async,
    "openai_async": make_openai_async,
    "litellm_async": make_litellm_async,
    "floor_async": make_floor_async,
    "floor_bounded": make_bounded_floor,
}
CLIENTS: dict[str, Callable[[str], Client]] = {
    "chatgpt": make_chatgpt,
    "openai": make_openai,
    "litellm": make_litellm,
    "floor": make_floor,
    **{name: on_a_loop(make) for name, make in ASYNC_CLIENTS.items()},
}


def text_of(reply: Any) -> str:
    """The text of a plain reply, for those that are no clients of OpenAI."""
    return str(reply["choices"][0]["message"]["content"])


def pieces(events: Iterable[str | bytes]) -> Iterable[str]:
    """The pieces of text in the data of events, for those that are no clients of OpenAI."""
    for data in events:
        if data not in ("[DONE]", b"[DONE]"):
            yield json.loads(data)["choices"][0]["delta"].get("content") or ""
