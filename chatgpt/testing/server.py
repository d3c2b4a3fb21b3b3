"""The loopback server: requests in, answers or faults out.

Strategy: `http.server` of the standard library, a thread for each connection, HTTP/1.1 with
keep-alive. What is answered is decided by a responder; how it goes wrong by a `Fault`. The handler
writes every piece by itself and unbuffered, so that a piece is what a client's read may get.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Final, Self

from chatgpt.testing.completions import (
    completion_body,
    error_body,
    failed,
    models_body,
    moderation_body,
    stream_events,
)
from chatgpt.testing.faults import Fault
from chatgpt.testing.framing import compressed, split
from chatgpt.testing.refusals import CountTokens, count_words, incompleteness_of, refusal_of
from chatgpt.testing.requests import RecordedRequest
from chatgpt.testing.responders import (
    Answer,
    RawAnswer,
    Reply,
    Responder,
    answer_of,
    echo,
    replies_in_order,
)
from chatgpt.testing.web import ProxyOptions, SessionOptions, WebBackend

DEFAULT_API_KEY: Final = "sk-test"
"""The key that a server accepts unless it is given others."""

DEFAULT_MODELS: Final = ("gpt-5.4-mini", "gpt-5.4", "gpt-4o")

WEB_PATHS: Final = ("/api/", "/backend-api/")
"""Where ChatGPT's own backend is."""

_NO_FAULT: Final = Fault()


def _harmless(_: str) -> Mapping[str, float]:
    return {"harassment": 0.0, "hate": 0.0, "self-harm": 0.0, "sexual": 0.0, "violence": 0.0}


class ChatGPTServer:
    """A server on the loopback interface that speaks OpenAI's protocol, and ChatGPT's own.

    Args:
        replies: what it answers: a function of the request, a list of replies that are given in
            order, or `None` for an echo that shows that the thread arrived.
        api_key: the bearer token that it accepts; `None` for any, or none at all.
        models: the models that `/v1/models` lists; where they are given, others are refused. By default it lists
            three, and refuses none.
        moderate: gives the scores of a text by category; from 0.5 on it is flagged.
        refused_parameters: parameters that the models do not take: a request that has one is refused, as
            OpenAI does it. `"stream"` is refused where it is true.
        context_length: the window for prompt and reply, in tokens; by default there is none.
        count_tokens: counts the tokens of a request's prompt, for its usage and the window: a function of
            the request, as `replies` may be. By default it counts words.
        port: where it listens; 0 for a free port.

    Attributes:
        requests (list[RecordedRequest]): every request that arrived, in order.
        replies: what it answers; can be set at any time.
        moderate: the function that was given; can be set at any time.
        refused_parameters: what was given; can be set at any time.
        context_length: what was given, in tokens; `None` for no window. It can be set at any time.
        count_tokens: what counts the tokens of a prompt; can be set at any time.
        web (WebBackend): ChatGPT's own backend: tokens, conversations, the dialect of its streams.
        proxy_options: the options of a `ChatGPTUnofficialProxyAPI` for this server, with an access token that is valid.
        session_options: the options of a `ChatGPTSessionAPI` for this server.

    Raises:
        TypeError: `replies` is nothing that can answer, or `refused_parameters` is a text.
        OSError: the port is taken.

    Used as a context manager, or with `start` and `stop`.
    """

    def __init__(
        self,
        replies: Responder | Sequence[Reply] | None = None,
        *,
        api_key: str | None = DEFAULT_API_KEY,
        models: Sequence[str] | None = None,
        moderate: Callable[[str], Mapping[str, float]] = _harmless,
        refused_parameters: Collection[str] = (),
        context_length: int | None = None,
        count_tokens: CountTokens = count_words,
        port: int = 0,
    ) -> None:
        self._accepted_key = api_key
        self._accepted_models = models
        self.moderate = moderate
        if isinstance(refused_parameters, str):
            raise TypeError("refused_parameters must be a collection of names, not a str.")
        self.refused_parameters = refused_parameters
        self.context_length = context_length
        self.count_tokens = count_tokens
        self.requests: list[RecordedRequest] = []
        self.replies = replies
        self.web = WebBackend()
        self._faults: deque[Fault | RawAnswer] = deque()
        self._lock = Lock()
        # Bound, so that the port is known; until it listens, a client is refused at once.
        self._http = _HTTPServer(("127.0.0.1", port), _Handler, False)
        self._http.server_bind()
        self._http.owner = self
        self._thread: Thread | None = None
        self._was_started = False

    @property
    def replies(self) -> Responder:
        """What is answered. It can be set at any time, to what the constructor takes."""
        return self._responder

    @replies.setter
    def replies(self, replies: Responder | Sequence[Reply] | None) -> None:
        if replies is None:
            self._responder: Responder = echo
        elif callable(replies):
            self._responder = replies
        elif isinstance(replies, (list, tuple)):
            self._responder = replies_in_order(replies)
        else:
            raise TypeError(
                f"replies must be a function, a list of replies or None, not {type(replies).__name__}."
            )

    @property
    def api_key(self) -> str:
        """A key that the server accepts."""
        return self._accepted_key or DEFAULT_API_KEY

    @property
    def models(self) -> Sequence[str]:
        """The models that `/v1/models` lists."""
        return DEFAULT_MODELS if self._accepted_models is None else self._accepted_models

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return self._http.server_port

    @property
    def base_url(self) -> str:
        """The base URL for clients, `/v1` included."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def proxy_options(self) -> ProxyOptions:
        """The options of a `ChatGPTUnofficialProxyAPI` for this server, with an access token that is valid."""
        return {
            "access_token": self.web.valid_token(),
            "api_reverse_proxy_url": f"{self._backend_url}/conversation",
        }

    @property
    def session_options(self) -> SessionOptions:
        """The options of a `ChatGPTSessionAPI` for this server."""
        return {
            "session_token": self.web.session_token or "signed-out",
            "clearance_token": self.web.clearance_token,
            "api_base_url": f"http://127.0.0.1:{self.port}/api",
            "backend_api_base_url": self._backend_url,
        }

    @property
    def _backend_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/backend-api"

    def inject(self, *faults: Fault | RawAnswer) -> None:
        """Let the next requests fail, each with one of these faults, or get these bytes, in order.

        Args:
            faults: what goes wrong, a request each.

        Raises:
            TypeError: one is neither a `Fault` nor a `RawAnswer`.
        """
        given: Sequence[object] = faults
        for fault in given:
            if not isinstance(fault, (Fault, RawAnswer)):
                name = type(fault).__name__
                raise TypeError(f"inject takes Fault(...) or RawAnswer(...), not {name}.")
        with self._lock:
            self._faults.extend(faults)

    def clear_faults(self) -> None:
        """Forget the faults that are still to come."""
        with self._lock:
            self._faults.clear()

    def start(self) -> Self:
        """Begin to serve, in threads of its own.

        Raises:
            RuntimeError: it was started before.
        """
        if self._was_started:
            raise RuntimeError("This server was started before; make a new one.")
        self._was_started = True
        self._http.server_activate()
        self._thread = Thread(
            target=self._http.serve_forever, args=(0.02,), name="chatgpt-server", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving, and close every connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._http.shutdown()
            thread.join()
        self._http.close_connections()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ChatGPTServer at {self.base_url}, {len(self.requests)} requests>"

    def _record(self, request: RecordedRequest) -> Fault | RawAnswer:
        with self._lock:
            self.requests.append(request)
            request.id = f"req_{len(self.requests)}"
            return self._faults.popleft() if self._faults else _NO_FAULT

    def _refuses(self, request: RecordedRequest) -> bool:
        return self._accepted_key is not None and request.api_key != self._accepted_key

    def _knows(self, model: object) -> bool:
        return self._accepted_models is None or model in self._accepted_models


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    owner: ChatGPTServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not worth a traceback on standard error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "chatgpt.testing"
    server: _HTTPServer
    _request: RecordedRequest
    _fault: Fault

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing: the requests are recorded."""

    def _serve(self) -> None:
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        self._request = RecordedRequest(
            self.command, self.path, headers, body, client_port=self.client_address[1]
        )
        fault = owner._record(self._request)  # noqa: SLF001 - one thing in two classes
        self._fault = fault if isinstance(fault, Fault) else _NO_FAULT
        time.sleep(self._fault.delay)
        try:
            if isinstance(fault, RawAnswer):
                self._send_raw(fault)
            elif fault.reset and fault.cut_after is None:
                self._reset()
            elif fault.status is not None:
                given = fault.body
                text = given.encode() if isinstance(given, str) else given
                self._send(
                    fault.status, [error_body("An error on demand.") if text is None else text]
                )
            elif self.path.startswith(WEB_PATHS):
                self._answer_web()
            elif owner._refuses(self._request):  # noqa: SLF001
                given_key = (
                    "Incorrect API key provided."
                    if self._request.api_key
                    else "You did not provide an API key."
                )
                self._refuse(401, given_key, code="invalid_api_key")
            else:
                self._answer()
        except OSError:
            self._request.is_disconnected = True
            self.close_connection = True

    def _answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1")
        owner = self.server.owner
        match self.command, path:
            case "GET", "/models":
                self._send(200, [models_body(owner.models)])
            case "POST", "/chat/completions" | "/completions" | "/moderations":
                request = self._parsed()
                if request is None:
                    self._refuse(400, "We could not parse the JSON body of your request.")
                elif path == "/moderations":
                    self._moderate(request)
                else:
                    self._complete(request, is_chat=path == "/chat/completions")
            case _:
                self._refuse(404, f"Invalid URL ({self.command} {self.path})")

    def _parsed(self) -> Mapping[str, Any] | None:
        try:
            return self._request.json
        except (ValueError, RecursionError):
            return None

    def _moderate(self, request: Mapping[str, Any]) -> None:
        if not isinstance(request.get("input"), str):
            self._refuse(400, "'input' must be a string.", param="input")
            return
        scores = self.server.owner.moderate(request["input"])
        self._send(200, [moderation_body(request.get("model", "omni-moderation-latest"), scores)])

    def _complete(self, request: Mapping[str, Any], *, is_chat: bool) -> None:
        owner = self.server.owner
        refusal = incompleteness_of(request, is_chat=is_chat)
        tokens = 0 if refusal is not None else self._count()
        if tokens is None:
            return
        refusal = refusal or refusal_of(
            request,
            refused_parameters=owner.refused_parameters,
            context_length=owner.context_length,
            tokens=tokens,
        )
        if refusal is not None:
            self._refuse(400, refusal.message, refusal.param, refusal.code)
            return
        if not owner._knows(request["model"]):  # noqa: SLF001
            message = (
                f"The model `{request['model']}` does not exist or you do not have access to it."
            )
            self._refuse(404, message, param="model", code="model_not_found")
            return
        answer = self._reply(self._request)
        if isinstance(answer, RawAnswer):
            self._send_raw(answer)
            return
        if request.get("stream"):
            events = stream_events(answer, request, tokens, self._fault, is_chat=is_chat)
            self._send(200, events, content_type="text/event-stream; charset=utf-8")
        else:
            self._send(200, [completion_body(answer, request, tokens, is_chat=is_chat)])

    def _answer_web(self) -> None:
        owner = self.server.owner
        answer = owner.web.answer(self._request, self._fault, self._reply, owner.moderate)
        if isinstance(answer, RawAnswer):
            self._send_raw(answer)
        else:
            self._send(answer.status, answer.parts, content_type=answer.content_type)

    def _reply(self, request: RecordedRequest) -> Answer | RawAnswer:
        try:
            return answer_of(self.server.owner.replies(request))
        except Exception as error:  # noqa: BLE001 - the failure of a test's own function is the answer
            return failed("responder", error)

    def _count(self) -> int | None:
        try:
            return int(self.server.owner.count_tokens(self._request))
        except Exception as error:  # noqa: BLE001 - the same
            self._send_raw(failed("function count_tokens", error))
            return None

    def _refuse(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        self._send(status, [error_body(message, param=param, code=code)])

    # --- writing, with whatever goes wrong ---------------------------------------------------

    def _send(
        self, status: int, parts: Iterable[bytes], content_type: str = "application/json"
    ) -> None:
        fault = self._fault
        framing = fault.framing or ("length" if isinstance(parts, list) else "chunked")
        if fault.gzip:
            parts = compressed(parts)
        if framing == "length":
            parts = [b"".join(parts)]
        self.send_response(status)
        headers = {
            "content-type": content_type,
            "x-request-id": self._request.id,
        }
        if fault.gzip:
            headers["content-encoding"] = "gzip"
        if framing == "length":
            headers["content-length"] = str(sum(map(len, parts)))
        elif framing == "chunked":
            headers["transfer-encoding"] = "chunked"
        else:
            headers["connection"] = "close"
        for name, value in {
            **headers,
            **{name.lower(): value for name, value in fault.headers.items()},
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self._send_body(parts, is_chunked=framing == "chunked")

    def _send_body(self, parts: Iterable[bytes], *, is_chunked: bool) -> None:
        fault = self._fault
        left = fault.cut_after
        for part in split(parts, fault.split_every):
            time.sleep(fault.part_delay)
            is_cut = left is not None and len(part) >= left
            piece = part[:left] if is_cut else part
            if is_chunked:
                # A cut chunk announces all of its bytes.
                self.wfile.write(b"%x\r\n%s" % (len(part), piece) + (b"" if is_cut else b"\r\n"))
            else:
                self.wfile.write(piece)
            self._request.parts_sent += 1
            if is_cut:
                self._cut()
                return
            left = None if left is None else left - len(part)
        time.sleep(fault.stay_open)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send_raw(self, raw: RawAnswer) -> None:
        for piece in raw.pieces:
            self.wfile.write(piece)
            self._request.parts_sent += 1
            time.sleep(raw.pause)
        self.close_connection = True
        if raw.reset:
            self._reset()

    def _cut(self) -> None:
        self.close_connection = True
        if self._fault.reset:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        # A close with a linger of 0 s is a reset (RST) in TCP.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
