"""A process forks while its clients are at work. What happens then is tried in interpreters of their own (`forking.py`)."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Final

import pytest
import trustme

from chatgpt.testing import ChatGPTServer
from tests.reliability import forking
from tests.reliability.gates import Gate, gate, needs_fork, run
from tests.reliability.report import Report

__all__ = ["gate"]  # a fixture

GROUP: Final = "Sharing"


def run_fork(
    report: Report, case: str, twin: str, server: ChatGPTServer, **environment: str
) -> None:
    try:
        ended = run(
            *("-W", "ignore:.*multi-threaded.*fork:DeprecationWarning"),
            *("-m", "tests.reliability.forking", case, twin, server.base_url),
            **environment,
        )
    except subprocess.TimeoutExpired:
        report.count("hangs")
        raise
    if "HangError" in ended.stderr:
        report.count("hangs")
    assert (ended.returncode, ended.stderr) == (0, "")


def ports(server: ChatGPTServer, beginning: str) -> set[int]:
    """Those from which messages came that begin so."""
    return {
        request.client_port
        for request in server.requests
        if str(request.messages[-1]["content"]).startswith(beginning)
    }


@needs_fork
@pytest.mark.parametrize("case", forking.CASES)
def test_a_fork_in_the_middle_of_use(report: Report, gate: ChatGPTServer, case: str) -> None:
    run_fork(report, case, "sync", gate)
    children = ports(gate, "child")
    others = {request.client_port for request in gate.requests} - children
    assert not children & ports(gate, "before")
    assert not children & ports(gate, "held")
    assert others
    report.tried(
        GROUP,
        f"fork: {case.replace('_', ' ')}",
        "sync",
        "the child has connections of its own, the parent's stream goes on",
        max(len(children), 1),
    )


@needs_fork
@pytest.mark.parametrize(
    "case",
    [
        "open_stream_of_the_forking_thread",
        "open_stream_of_another_thread",
        "child_drops_the_stream",
    ],
)
def test_a_fork_with_a_stream_over_tls(report: Report, tmp_path: Path, case: str) -> None:
    """A child that closes a connection of TLS must not say so to the server."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificates = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(certificates))
    server = ChatGPTServer(Gate())
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    with server:
        arguments = case, "sync", server.base_url.replace("http:", "https:")
        ended = run(
            *("-W", "ignore:.*multi-threaded.*fork:DeprecationWarning"),
            *("-m", "tests.reliability.forking", *arguments),
            REQUESTS_CA_BUNDLE=str(certificates),
        )
        assert (ended.returncode, ended.stderr) == (0, "")
    report.tried(
        GROUP, f"fork over TLS: {case.replace('_', ' ')}", "sync", "the parent's stream goes on"
    )


@needs_fork
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fork_beside_an_event_loop(report: Report, gate: ChatGPTServer, backend: str) -> None:
    run_fork(report, "async_child", backend, gate)
    assert not ports(gate, "child") & ports(gate, "held")
    assert len(ports(gate, "child")) == 4
    report.tried(
        GROUP,
        "fork: a stream is open in an event loop, the child runs a loop of its own with the same client",
        backend,
        "the child has connections of its own, the parent's stream goes on",
        4,
    )


@needs_fork
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_that_is_left_while_a_child_lives(
    report: Report, gate: ChatGPTServer, backend: str
) -> None:
    run_fork(report, "async_parent_leaves", backend, gate)
    report.tried(
        GROUP,
        "fork: a stream is left while the child lives",
        backend,
        "the server sees at once that it is left",
    )
