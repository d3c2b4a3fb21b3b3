"""The clients that are compared, all doing the same: `python -I benchmarks/peer_clients.py NAME URL EVENTS SECONDS`.

Strategy: one process for each client and round. It makes its client and has a first reply, as the first thing that it does;
then, warm, it streams and asks for as long as it was told, and at least once. Each of the two is reported as a line of JSON.

Rules:

1. It runs as a file and loads only what costs next to nothing, so that a client's own imports are what is measured.
2. Each client is used as its documentation does it, with its own defaults, and gives back the whole text.
3. CPU time is that of the whole process, user and system, threads included.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

KEY = "sk-loopback-0123456789abcdef"
MODEL = "gpt-5.4-mini"
QUESTION = "What is a monad?"
MESSAGES = [{"role": "user", "content": QUESTION}]
"""The prompt of those that keep no threads."""
TRIPS = 20
"""Round trips between two looks at the clock."""

Client = tuple[Callable[[int], str], Callable[[], str]]
"""Two functions. One asks so many times, one after the other, and returns the last text; one asks once, for a stream, and
returns the text of its parts."""


def blocking(ask: Callable[[], str], stream: Callable[[], str]) -> Client:
    """A sync client, of what asks once and what streams once."""

    def ask_often(times: int) -> str:
        for _ in range(times):
            text = ask()
        return text

    return ask_often, stream


def awaited(ask: Callable[[], Awaitable[str]], stream: Callable[[], Awaitable[str]]) -> Client:
    """An async client, on one event loop, which what it needs is imported for."""
    import asyncio

    runner = asyncio.Runner()

    async def ask_often(times: int) -> str:
        for _ in range(times):
            text = await ask()
        return text

    async def stream_once() -> str:
        return await stream()

    return lambda times: runner.run(ask_often(times)), lambda: runner.run(stream_once())


def make_chatgpt(url: str) -> Client:
    """`chatgpt`: the default store and options."""
    from chatgpt import ChatGPTAPI

    client = ChatGPTAPI(api_key=KEY, api_base_url=url)

    def stream() -> str:
        with client.stream_message(QUESTION) as stream:
            return "".join([part.delta or "" for part in stream])

    return blocking(lambda: client.send_message(QUESTION).text, stream)


def make_chatgpt_async(url: str) -> Client:
    """`chatgpt_async`: the default store and options."""
    from chatgpt_async import ChatGPTAPI

    client = ChatGPTAPI(api_key=KEY, api_base_url=url)

    async def ask() -> str:
        return (await client.send_message(QUESTION)).text

    async def stream() -> str:
        async with client.stream_message(QUESTION) as stream:
            return "".join([part.delta or "" async for part in stream])

    return awaited(ask, stream)


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


def make_openai_async(url: str) -> Client:
    """`openai`, async."""
    from openai import AsyncOpenAI

    create: Any = AsyncOpenAI(api_key=KEY, base_url=url).chat.completions.create

    async def ask() -> str:
        reply = await create(model=MODEL, messages=MESSAGES)
        return str(reply.choices[0].message.content)

    async def stream() -> str:
        async with await create(model=MODEL, messages=MESSAGES, stream=True) as stream:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return awaited(ask, stream)


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


def make_litellm_async(url: str) -> Client:
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

    return awaited(ask, stream)


def make_floor(url: str) -> Client:
    """What nothing made with `requests` and `sseclient` can be faster than."""
    import requests
    import sseclient

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    url += "/chat/completions"

    def ask() -> str:
        return text_of(session.post(url, json={"model": MODEL, "messages": MESSAGES}).json())

    def stream() -> str:
        request = {"model": MODEL, "messages": MESSAGES, "stream": True}
        with session.post(url, json=request, stream=True) as response:
            events = sseclient.SSEClient(response.iter_content(None)).events()
            return "".join(pieces(event.data for event in events))

    return blocking(ask, stream)


def make_floor_async(url: str) -> Client:
    """What nothing made with `httpx2` can be faster than."""
    import httpx2

    client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"})
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

    return awaited(ask, stream)


CLIENTS = {
    "chatgpt": make_chatgpt,
    "chatgpt_async": make_chatgpt_async,
    "openai": make_openai,
    "openai_async": make_openai_async,
    "litellm": make_litellm,
    "litellm_async": make_litellm_async,
    "floor": make_floor,
    "floor_async": make_floor_async,
}


def text_of(reply: Any) -> str:
    """The text of a plain reply, for those that are no clients of OpenAI."""
    return str(reply["choices"][0]["message"]["content"])


def pieces(events: Iterable[str | bytes]) -> Iterable[str]:
    """The pieces of text in the data of events, for those that are no clients of OpenAI."""
    for data in events:
        if data not in ("[DONE]", b"[DONE]"):
            yield json.loads(data)["choices"][0]["delta"].get("content") or ""


def main(name: str, url: str, events: int, seconds: float) -> None:
    """Measure one client."""
    begin = now()
    ask, stream = CLIENTS[name](url)
    made = since(begin)
    text = ask(1)
    first_reply = {"cpu": time.process_time()}  # its wall time is seen from outside
    report({"make": made, "first_reply": first_reply, "memory": peak_memory()}, [text])
    ask(TRIPS)
    stream()
    streamed, text = cost(stream, seconds, events)
    asked, reply = cost(lambda: ask(TRIPS), seconds, TRIPS)
    report({"stream_event": streamed, "round_trip": asked}, [text, reply])


def now() -> tuple[float, float]:
    """CPU seconds of this process, and wall seconds since some moment."""
    return time.process_time(), time.perf_counter()


def since(begin: tuple[float, float], count: int = 1) -> dict[str, float]:
    """What has been spent, divided by what it was spent for."""
    cpu, wall = now()
    return {"cpu": (cpu - begin[0]) / count, "wall": (wall - begin[1]) / count}


def cost(work: Callable[[], str], seconds: float, pieces: int) -> tuple[dict[str, float], str]:
    """The cost of a piece of some work, which is done until it took so many seconds of CPU; and its text."""
    times, begin = 0, now()
    while not times or time.process_time() - begin[0] < seconds:
        text = work()
        times += 1
    return since(begin, times * pieces), text


def peak_memory() -> dict[str, float]:
    """The most memory that this program was resident in, in bytes; nothing where there is no `/proc`.

    (`getrusage` counts what was there before `exec`, too.)
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is an import
            kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    except OSError:
        return {}
    return {"bytes": int(kilobytes) * 1024}


def report(figures: dict[str, dict[str, float]], texts: list[str]) -> None:
    """Say what was measured, and what was read, for whoever compares it."""
    print(json.dumps({"figures": figures, "texts": texts}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
