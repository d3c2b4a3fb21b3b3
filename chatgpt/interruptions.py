"""What ends the waits of a call in the sync twin: its deadlines, its token, and whoever closes it.

Strategy: a thread that is blocked in a read, in `connect` or in a TLS handshake cannot look at anything. Another
one wakes it: `socket.shutdown` on a duplicate of its socket ends whatever waits for the connection. (Closing the
socket from another thread does not, and could hit a file descriptor that has another owner by then.) One thread of
the process, the watchdog, does so for all deadlines; `CancelToken.cancel` and `close` do it in their own thread.

Rules:

1. A call waits for one thing at a time, and says how to wake it (`hold`, `woken_by`). After each wait it asks why
   it ended (`check`): a connection that was shut down looks like one that has ended.
2. A connection is let go before it is given back: what is stopped later must not hit the call of another thread.
3. Starting the watchdog, or a step of it, costs a call nothing while the deadlines only grow: it looks again when
   the nearest deadline that it knows has passed.
4. `cancel` may come from a signal handler, in the middle of any line here: locks are reentrant, and what is
   waited for is an `Alarm`.
5. A signal that comes just before a system call does not interrupt it: Python notes it only behind it. So the main
   thread, which handles them, waits for an answer or an `Alarm` nap by nap (`LONGEST_NAP`). Connecting and sending
   are one call each, which their limits end.
6. A child of a fork does nothing to the calls of its parent (`is_of_parent`): the connections are shared, and
   who holds a lock may not be there.
"""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.needs import FailureKind, SendRequest, TransportFailure

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINGERING: Final = 5.0
"""Seconds after which the watchdog looks whether there is still something to watch, and goes if not."""

_REASONS: Final[dict[FailureKind, str]] = {
    "connect_timeout": "connecting took too long",
    "read_timeout": "nothing came",
    "aborted": "the token was cancelled",
    "connection": "the call was closed",
}


class Interruption:
    """What may end the waits of one call.

    Attributes:
        cause: what has ended them, once something has.
        deadline: when the watchdog stops the present wait, by `time.monotonic`.
        has_used_connection: whether the request went over a connection that was used before.
        is_watched: whether the watchdog knows the call.
        socket_timeout: seconds for single waits of the socket; `None` for none: there is a watchdog.
    """

    __slots__ = (
        "_end",
        "_handle",
        "_is_waiting",
        "_limit",
        "_lock",
        "_process",
        "_read_timeout",
        "_socket",
        "_take_back",
        "_wake",
        "cause",
        "deadline",
        "has_used_connection",
        "is_watched",
        "socket_timeout",
    )

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._wake: Callable[[], object] | None = None
        self._handle: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._take_back: Callable[[], None] | None = None
        self._limit: FailureKind = "timeout"
        self._end = self._read_timeout = inf
        self._is_waiting = False
        self.cause: FailureKind | None = None
        self.deadline = inf
        self.is_watched = False
        self.has_used_connection = False
        self.socket_timeout: float | None = None

    # --- what ends a wait ---

    def obey(self, token: CancelToken) -> None:
        """Be stopped by a token from now on."""
        self._take_back = token.tell(partial(self.stop, "aborted"))

    @property
    def is_of_parent(self) -> bool:
        """Whether it was begun before a fork: its connection and its locks are the parent's."""
        return self._process != os.getpid()

    def stop(self, cause: FailureKind) -> None:
        """End the present wait, and those to come."""
        if self.is_of_parent:
            self.cause = cause
            return
        with self._lock:
            if self.cause is None or (cause == "connection" and self.cause != "aborted"):
                self.cause = cause
            if self._wake is not None:
                self._wake()

    def stop_if_late(self) -> None:
        """End the present wait, if its deadline has passed."""
        with self._lock:
            if self.deadline <= monotonic():
                self.deadline = inf
                self.stop(self._limit)

    def check(self) -> None:
        """Say why a wait has ended, if it was ended.

        Raises:
            TransportFailure: it was.
        """
        if self.cause is not None:
            raise TransportFailure(self.cause, _REASONS.get(self.cause, ""))

    # --- waits ---

    def forget_deadline(self) -> None:
        """Something new is to be waited for: what ended the wait before is no matter, if it was a deadline."""
        with self._lock:
            if self.cause not in ("aborted", "connection"):
                self.cause = None

    def begin_request(self, need: SendRequest, *, tells_steps: bool = True) -> None:
        """A request is to be sent.

        Args:
            need: its limits.
            tells_steps: whether the connection says when it is made (`begin_answer`).

        Raises:
            TransportFailure: the call was stopped.
        """
        self.forget_deadline()
        self._end = monotonic() + need.timeout
        self._read_timeout = need.read_timeout
        self.has_used_connection = False
        if tells_steps:
            self.begin_wait("connect_timeout", need.connect_timeout)
        else:
            self.begin_wait("timeout", need.timeout)

    def begin_answer(self) -> None:
        """There is a connection: the wait for the answer begins."""
        rest = self._end - monotonic()
        if rest < self._read_timeout:
            self.begin_wait("timeout", rest)
        else:
            self.begin_wait("read_timeout", self._read_timeout)

    def begin_wait(self, limit: FailureKind, seconds: float) -> None:
        """A wait begins that may take so long; `end_wait` ends it.

        Raises:
            TransportFailure: the call was stopped.
        """
        self.check()
        self._is_waiting = True
        self._limit = limit
        self.deadline = monotonic() + seconds
        if not (self.is_watched and self.deadline >= _watchdog.next_look):
            self.is_watched = _watchdog.watch(self)
            self.socket_timeout = None if self.is_watched else max(seconds, 0.001)
            if self.socket_timeout is not None and self._socket and self._socket.fileno() >= 0:
                self._socket.settimeout(self.socket_timeout)

    def end_wait(self) -> None:
        """The wait is over, whatever came of it."""
        self.deadline = inf
        self._is_waiting = False

    @property
    def nap(self) -> float | None:
        """The timeout of a socket that is read in this thread: the main one handles signals between two naps."""
        is_main = threading.current_thread() is threading.main_thread()
        return LONGEST_NAP if is_main else self.socket_timeout

    @property
    def remaining(self) -> float:
        """Seconds until the deadline of the present wait."""
        return self.deadline - monotonic()

    def hold(self, waiting: socket.socket) -> None:
        """Wake whoever waits for this socket, from now on until it is let go.

        Raises:
            TransportFailure: the call was stopped.
        """
        self.let_go()
        handle = socket.fromfd(waiting.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        # With `socket.setdefaulttimeout` a new one does not block, and the connection with it.
        handle.settimeout(waiting.gettimeout())
        with self._lock:
            self._socket, self._handle = waiting, handle
            self._wake = partial(_shut_down, handle)
        self.check()

    def shut_down(self) -> None:
        """End the connection: the child of a fork may have it, too, and closing it here alone would not end it."""
        with self._lock:
            if self._handle is not None:
                _shut_down(self._handle)

    def let_go(self) -> None:
        """Leave the socket alone from now on."""
        with self._lock:
            handle, self._handle = self._handle, None
            self._wake = self._socket = None
        if handle is not None:
            handle.close()

    @contextmanager
    def woken_by(self, wake: Callable[[], object]) -> Iterator[None]:
        """Wake a wait for something else than a socket.

        Args:
            wake: ends it; called in another thread, or in a signal handler.

        Raises:
            TransportFailure: the call was stopped, before or meanwhile.
        """
        with self._lock:
            was_waiting, self._is_waiting = self._is_waiting, True
            self._wake = wake
        try:
            self.check()
            yield
            self.check()
        finally:
            with self._lock:
                self._wake, self._is_waiting = None, was_waiting

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            TransportFailure: the call was stopped.
        """
        self.forget_deadline()
        alarm = Alarm()
        with self.woken_by(alarm.set):
            alarm.wait(seconds)

    def close(self) -> None:
        """The call is over. Where another thread waits for something, its wait is ended, and it closes."""
        if self.is_of_parent:
            return
        with self._lock:
            if self.cause != "aborted":
                self.cause = "connection"  # no further wait begins
            if self._is_waiting:
                self.stop("connection")
                return
        take_back, self._take_back = self._take_back, None
        if take_back is not None:
            take_back()
        if self.is_watched:
            _watchdog.forget(self)
            self.is_watched = False
        self.let_go()


def _shut_down(handle: socket.socket) -> None:
    with suppress(OSError):  # there is no connection any more
        handle.shutdown(socket.SHUT_RDWR)


LONGEST_NAP: Final = 0.25
"""How long a wait may pass over a signal, in seconds."""


class NappingReader(io.RawIOBase):
    """Reads a socket of whose timeouts only those count that are the call's.

    Args:
        reader: that of the socket, which is closed with this one.
        connection: the socket; its timeout is a nap, a deadline that nobody else watches, or none.
        call: whose deadline it is.
    """

    def __init__(self, reader: io.RawIOBase, connection: socket.socket, call: Interruption) -> None:
        self._reader = reader
        self._receive = connection.recv_into
        self._call = call

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Wait for bytes, and take what there is of them; returns their number, 0 at the end.

        Raises:
            OSError: the connection broke, or the deadline has passed.
        """
        while True:
            try:
                return self._receive(buffer)
            except TimeoutError as error:
                # That of a connection which the system has given up has a number.
                if error.errno is not None or self._call.remaining <= 0:
                    raise

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._reader.fileno()

    def close(self) -> None:
        """Close the reader of the socket."""
        self._reader.close()
        super().close()


class Alarm:
    """Something to wait for until it is set, once. It may be set in a signal handler that interrupts the wait.

    (`threading.Event` has a lock that its `wait` and its `set` both take, and that is not reentrant.)
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """End the wait, or let it not begin. May be called again."""
        with suppress(RuntimeError):
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait, at most so long; whether it was set."""
        end = monotonic() + seconds
        while not self._lock.acquire(timeout=min(max(end - monotonic(), 0.0), LONGEST_NAP)):
            if monotonic() >= end:
                return False
        return True


class _Watchdog:
    """The thread that stops the waits whose deadline has passed.

    Attributes:
        next_look: when it looks at the deadlines again, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self._watched: set[Interruption] = set()
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child there is neither the thread nor a call that it watched."""
        for call in self._watched:
            call.is_watched = False
        # Another thread of the parent may hold the old ones. Ctrl-C leaves a bare lock never taken, but the
        # `with` of a condition is code of Python.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._watched = set()
        self._thread: threading.Thread | None = None
        self._is_resting = False
        self.next_look = inf

    def watch(self, call: Interruption) -> bool:
        """Watch the deadline of a call; whether there can be a thread that does."""
        with self._lock:
            self._watched.add(call)
            if call.deadline < self.next_look:
                self.next_look = call.deadline
                self._changed.notify()
            if self._thread is None:
                return self._start()
        return True

    def forget(self, call: Interruption) -> None:
        """A call is over."""
        with self._lock:
            self._watched.discard(call)

    def rest(self) -> None:
        """End the thread: the process forks."""
        with self._lock:
            self._is_resting = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(1.0)

    def go_on(self) -> None:
        """The process has forked, and this is the parent."""
        with self._lock:
            self._is_resting = False
            if any(call.deadline < inf for call in self._watched):
                self._start()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="chatgpt-watchdog", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter shuts down, or there are too many threads
            self._watched.clear()
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        with self._changed:
            while not self._is_resting:
                for call in [*self._watched]:
                    if call.deadline <= monotonic():
                        call.stop_if_late()
                    elif call.deadline == inf:
                        self._leave_aside(call)
                self.next_look = inf  # a wait that begins from here on has itself told (`watch`)
                self.next_look = min((call.deadline for call in self._watched), default=inf)
                seconds = min(max(self.next_look - monotonic(), 0.0), LINGERING)
                if not self._changed.wait(seconds) and not self._watched:
                    break
            self._thread = None
            self.next_look = inf

    def _leave_aside(self, call: Interruption) -> None:
        """Watch a call no more that waits for nothing: it comes again, unless Ctrl-C has ended it."""
        call.is_watched = False
        if call.deadline == inf:
            self._watched.discard(call)
        else:  # it has just begun a wait, and may not have seen it
            call.is_watched = True


_watchdog = _Watchdog()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_watchdog.rest,
        after_in_parent=_watchdog.go_on,
        after_in_child=_watchdog.begin_anew,
    )
