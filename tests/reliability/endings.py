"""Programs that end while a stream is open, for `test_sharing.py`.

Each is given the base URL of a server that holds the stream of "held" after its first part. `SETTING` stands before it.
A program for an event loop defines `work`, which is run by `asyncio.run` or `trio.run`.
"""

from __future__ import annotations

from textwrap import dedent
from typing import Final

SETTING: Final = """
import atexit, sys, threading, time
import anyio, chatgpt, chatgpt_async
made = dict(api_key="sk-test", api_base_url=sys.argv[1], max_retries=0)
"""

_SYNC: Final = {
    "the script ends": """
        client = chatgpt.ChatGPTAPI(**made)
        stream = client.stream_message("held").__enter__()
        assert next(stream).delta == "first"
    """,
    "sys.exit inside `with`": """
        client = chatgpt.ChatGPTAPI(**made)
        with client.stream_message("held") as stream:
            assert next(stream).delta == "first"
            sys.exit(0)
    """,
    "sys.exit, the stream in a function": """
        def work():
            stream = iter(chatgpt.ChatGPTAPI(**made).stream_message("held"))
            assert next(stream).delta == "first"
            sys.exit(0)
        work()
    """,
    "a daemon thread waits for a part": """
        client = chatgpt.ChatGPTAPI(**made)
        started = threading.Event()
        def work():
            for part in client.stream_message("held"):
                started.set()
        threading.Thread(target=work, daemon=True).start()
        assert started.wait(10)
        time.sleep(0.1)
    """,
    "a daemon thread is in `with`": """
        client = chatgpt.ChatGPTAPI(**made)
        started = threading.Event()
        def work():
            with client.stream_message("held") as stream:
                next(stream)
                started.set()
                time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        assert started.wait(10)
    """,
    "an atexit handler begins a stream": """
        client = chatgpt.ChatGPTAPI(**made)
        streams = []
        def last():
            streams.append(client.stream_message("held").__enter__())
            assert next(streams[0]).delta == "first"
        atexit.register(last)
    """,
    "an atexit handler reads a stream that is open": """
        client = chatgpt.ChatGPTAPI(**made)
        stream = client.stream_message("held").__enter__()
        assert next(stream).delta == "first"
        def last():
            assert client.send_message("open").text
            assert next(stream).delta == " second"
            assert next(stream, None) is None
        atexit.register(last)
    """,
    "a reference cycle holds the stream": """
        class Holder: pass
        holder = Holder()
        holder.itself = holder
        holder.stream = chatgpt.ChatGPTAPI(**made).stream_message("held").__enter__()
        del holder
    """,
    "the client was used and is not closed": """
        client = chatgpt.ChatGPTAPI(**made)
        assert client.send_message("hi").text
    """,
}

_ASYNC: Final = {
    "the loop ends": """
        async def work():
            client = chatgpt_async.ChatGPTAPI(**made)
            stream = client.stream_message("held")
            await stream.__aenter__()
            assert (await anext(stream)).delta == "first"
    """,
    "sys.exit inside `async with`": """
        async def work():
            async with chatgpt_async.ChatGPTAPI(**made) as client:
                async with client.stream_message("held") as stream:
                    assert (await anext(stream)).delta == "first"
                    sys.exit(0)
    """,
    "a task that waits for a part is cancelled": """
        async def listen(stream, started):
            async with stream:
                async for part in stream:
                    started.set()
        async def work():
            async with chatgpt_async.ChatGPTAPI(**made) as client:
                async with anyio.create_task_group() as tasks:
                    started = anyio.Event()
                    tasks.start_soon(listen, client.stream_message("held"), started)
                    await started.wait()
                    tasks.cancel_scope.cancel()
    """,
}

SYNC_ENDS: Final = {name: dedent(program) for name, program in _SYNC.items()}

ASYNC_ENDS: Final = {name: dedent(program) for name, program in _ASYNC.items()}
