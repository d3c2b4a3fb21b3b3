"""A scene: one conversation on one engine, with all that can be seen of it written down.

What the twins may differ in is left out or named alike: ids that are made up, ports, dates, and the
headers that a transport adds on its own account.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import pytest

from chatgpt import ChatGPTAPI, ChatGPTError, ChatMessage
from chatgpt.testing import ChatGPTServer, RecordedRequest
from tests.engines import NAMES, Engine, stored_messages

TRANSPORT_HEADERS = {"host", "connection"}
"""What requests and httpx2 write themselves."""

_MADE_UP = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|(?:chatcmpl|cmpl|modr|access|resume)-[0-9a-f]{12,}"
)
_TIMES = frozenset({"created", "create_time", "update_time", "created_at", "updated_at"})
_SHOWN_OF_ERRORS = (
    "status_code status_text code param type body request_id retry_after partial is_final limit tokens"
).split()


class Scene:
    """Plays one conversation and writes down what happens.

    Args:
        engine: where it is played.
        server: whom it is held with.

    Attributes:
        log: what happened, in order; equal on all engines.
    """

    def __init__(self, engine: Engine, server: ChatGPTServer) -> None:
        self.engine = engine
        self.server = server
        self.log: list[object] = []
        self._names: dict[str, str] = {}
        self._client: ChatGPTAPI | None = None

    @property
    def client(self) -> ChatGPTAPI:
        """The client, without retries unless `use` made it."""
        return self._client or self.use(max_retries=0)

    def use(self, **options: Any) -> ChatGPTAPI:
        """Make a client with these options."""
        given = {"api_key": self.server.api_key, "api_base_url": self.server.base_url, **options}
        self._client = self.engine.client(**given)
        return self._client

    def use_proxy(self, **options: Any) -> Any:
        """Make a client of the reverse proxy that the server is."""
        client: Any = self.engine.proxy_client(**{**self.server.proxy_options, **options})
        self._client = client
        return client

    def use_session(self, **options: Any) -> Any:
        """Make a client with the session of the server."""
        client: Any = self.engine.session_client(**{**self.server.session_options, **options})
        self._client = client
        return client

    def in_both_ways(self) -> None:
        """Send a message and stream one, each over a connection of its own."""
        for way in (self.send, self.progress):
            self.use(max_retries=0)
            self.attempt(lambda: way("hi"))  # noqa: B023 - it is called at once

    def send(self, text: str, **options: Any) -> ChatMessage:
        """Send a message; an error is written down, and ends the scene."""
        reply: ChatMessage = self.take_down(lambda: self.client.send_message(text, **options))
        return reply

    def progress(self, text: str, **options: Any) -> ChatMessage:
        """Send a message, and write down the parts of the reply."""
        return self.send(text, on_progress=lambda part: self.note("part", part), **options)

    def stream(self, text: str, *, most: int | None = None, **options: Any) -> ChatMessage:
        """Stream a reply, at most so many parts of it."""

        def play() -> ChatMessage:
            with self.client.stream_message(text, **options) as stream:
                for number, part in enumerate(stream, start=1):
                    self.note("part", part)
                    if number == most:
                        break
            self.note("text", stream.text)
            return stream.result()

        reply: ChatMessage = self.take_down(play)
        return reply

    def take_down(self, play: Callable[[], Any]) -> Any:
        try:
            result = play()
        except Exception as error:
            shown = {name: getattr(error, name, None) for name in _SHOWN_OF_ERRORS}
            self.note("error", type(error).__name__, str(error), shown)
            raise
        self.note("result", result)
        return result

    def attempt(self, play: Callable[[], Any]) -> Any:
        """Go on after an error."""
        try:
            return play()
        except (ChatGPTError, ValueError, TypeError, LookupError, RuntimeError, OSError):
            return None

    def note(self, *things: object) -> None:
        self.log.append([self.named_alike(thing) for thing in things])

    def end(self) -> list[object]:
        """What happened, the wire and the store included."""
        self.note("requests", [self._shown(request) for request in self.server.requests])
        if self._client is not None:
            self.note("stored", stored_messages(self._client))
        return self.log

    def named_alike(self, thing: object) -> object:
        match thing:
            case str():
                return self._named(thing)
            case ChatMessage():
                return {
                    attribute.name.lstrip("_"): self.named_alike(
                        getattr(thing, attribute.name.lstrip("_"))
                    )
                    for attribute in attrs.fields(ChatMessage)
                    if attribute.name != "created_at"
                }
            case Mapping():
                return {
                    self._named(str(key)): "some time" if key in _TIMES else self.named_alike(value)
                    for key, value in thing.items()
                }
            case list() | tuple():
                return [self.named_alike(item) for item in thing]
            case _ if attrs.has(type(thing)):
                return self.named_alike(attrs.asdict(thing, recurse=False))  # type: ignore[arg-type] # it is one
            case _:
                return thing

    def _named(self, text: str) -> str:
        text = _MADE_UP.sub(
            lambda found: self._names.setdefault(found[0], f"id-{len(self._names) + 1}"), text
        )
        return text.replace(f":{self.server.port}", ":PORT")  # its digits may stand in an id

    def _shown(self, request: RecordedRequest) -> list[object]:
        headers = {
            name: value for name, value in request.headers.items() if name not in TRANSPORT_HEADERS
        }
        return [request.method, request.path, headers, request.body.decode("utf-8", "replace")]


def first_difference(ours: object, theirs: object) -> object:
    """The innermost part in which two logs differ, for the message of a test that fails."""
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = zip(ours, theirs, strict=True)
        return next((first_difference(one, other) for one, other in pairs if one != other), None)
    return ours, theirs


Case: TypeAlias = Callable[[Scene], object]


class Table:
    """Conversations that are played on every engine.

    Attributes:
        cases: them by name.
        played: what was seen of each that was played, the same on every engine.
    """

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.played: dict[str, list[object]] = {}

    def case(self, play: Case) -> Case:
        """Put a conversation into the table."""
        self.cases[play.__name__] = play
        return play

    def variants(
        self, name: str, variants: Mapping[str, Any]
    ) -> Callable[[Callable[..., object]], None]:
        """Put the variants of a conversation into the table."""

        def put(play: Callable[..., object]) -> None:
            for variant, value in variants.items():
                self.cases[f"{name}-{variant}"] = lambda scene, value=value: play(scene, value)  # type: ignore[misc] # it is called with a scene

        return put

    def play(self, engines: Mapping[str, Engine], name: str) -> list[object]:
        """Play a case on every engine, check that the same was seen on each, and return it."""
        seen: dict[str, list[object]] = {}
        for engine in engines.values():
            with ChatGPTServer() as server:
                scene = Scene(engine, server)
                scene.attempt(lambda scene=scene: self.cases[name](scene))  # type: ignore[misc] # it is called at once
                seen[engine.name] = scene.end()
                engine.close_clients()
        assert list(seen) == NAMES
        for name_of_engine, log in seen.items():
            assert log == seen["sync"], (name_of_engine, first_difference(log, seen["sync"]))
        self.played[name] = seen["sync"]
        return seen["sync"]

    def count_kinds(self) -> Counter[str]:
        """How many results, errors, parts and so on all cases gave; a few cases alone show nothing."""
        if len(self.played) < len(self.cases):
            pytest.skip("only some cases were played")
        return Counter(
            str(line[0]) for log in self.played.values() for line in log if isinstance(line, list)
        )
