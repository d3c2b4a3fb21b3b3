"""Recorded answers, mutated at random: whatever a server sends, a call ends as it is promised to.

Strategy: hypothesis decides how events of recorded streams are dropped, repeated, moved, spliced with
those of other servers, changed in their JSON and in their bytes (`fuzzing/mutations.py`), and in which
reads they come. Each answer is played through the core, by hand, and what must hold for any answer is
asserted on the way (`fuzzing/outcomes.py`); the tests here say what must hold beyond that.

`FUZZ_EXAMPLES` says how many examples are tried of each property: 100 unless it is set.

    $ FUZZ_EXAMPLES=10000 python -m pytest tests/reliability/test_mutations.py
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from chatgpt.core.needs import TransportFailure
from fuzzing.mutations import Pick, disguised, mutated, mutated_bytes, mutated_document, splits
from fuzzing.outcomes import Outcome, play
from fuzzing.seeds import DOCUMENTS, OFFICIAL, STRANGE, WEB, WEB_DELTAS
from tests.core.web import made
from tests.reliability.report import Report
from tests.stepping import LOST, chunk, sse

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "100"))
tried_often = settings(max_examples=EXAMPLES)

FLOWS: Final[dict[str, tuple[Sequence[Sequence[bytes]], dict[str, Any]]]] = {
    "chat completions": (OFFICIAL, {"wants_parts": True, "stream": True}),
    "chat completions, not followed": (OFFICIAL, {"stream": False}),
    "text completions": (
        OFFICIAL,
        {"wants_parts": True, "stream": True, "client": {"endpoint": "completions"}, "endpoint": "completions"},
    ),
    "web, snapshots": (WEB, {"is_web": True}),
    "web, deltas": (WEB_DELTAS, {"is_web": True}),
    "web, not followed": ((*WEB, *WEB_DELTAS * 8), {"is_web": True, "wants_parts": False}),
    "web, as plain text": (
        (*WEB, *WEB_DELTAS * 8),
        {"is_web": True, "settings": made.session(access_token="access-token-1", markdown=False)},
    ),
}  # fmt: skip
"""Streams to mutate, and how they are asked for."""
HEADERS: Final = (
    "0", "1", "1e400", "nan", "-1", "9" * 400, "x", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Foo 99999 99:99:99 +9999", "true", "1m0.05s",
    "9" * 400 + "s", "", "\xff", ", ,", "Sun, 06-Nov-94 08:49:37 GMT",
)  # fmt: skip


@st.composite
def picks(draw: st.DrawFn) -> Pick:
    """What chooses: hypothesis."""
    return lambda below: draw(st.integers(0, below - 1))


def played(reads: Sequence[bytes], options: dict[str, Any], report: Report, **more: Any) -> Outcome:
    """Play an answer; what must not happen is counted before it fails the test."""
    asked = {name: value for name, value in options.items() if name != "endpoint"}
    try:
        return play(reads, **asked, **more, is_stripped="endpoint" in options)
    except AssertionError:
        report.count("lost partials")
        raise
    except Exception:
        report.count("untyped errors")
        raise


@pytest.mark.parametrize("flow", FLOWS)
def test_mutated_streams_end_as_promised_however_they_are_read(flow: str, report: Report) -> None:
    streams, options = FLOWS[flow]
    tried = 0

    @tried_often
    @given(picks(), st.sampled_from(streams), st.sampled_from([None, None, LOST, 500.0]))
    def check(
        pick: Pick, blocks: Sequence[bytes], failure: TransportFailure | float | None
    ) -> None:
        nonlocal tried
        stream = mutated(blocks, STRANGE, pick)
        note(repr(stream))
        whole = played([stream], options, report, failure=failure)
        cut = played(splits(stream, pick), options, report, failure=failure)
        assert cut == whole
        tried += 1

    check()
    report.tried("Fuzzing", f"mutated streams: {flow}", "-", SEEN, cases=tried)


SEEN: Final = (
    "the reply or a typed error, the same however the bytes are cut; `partial` is what was reported"
)


@pytest.mark.parametrize("flow", ["chat completions", "web, snapshots", "web, deltas"])
def test_the_same_events_written_otherwise_are_the_same_reply(flow: str, report: Report) -> None:
    streams, options = FLOWS[flow]
    tried = 0

    @tried_often
    @given(picks(), st.sampled_from(streams))
    def check(pick: Pick, blocks: Sequence[bytes]) -> None:
        nonlocal tried
        stream = disguised(blocks, pick)
        note(repr(stream))
        plain = played([b"\n\n".join(blocks) + b"\n\n"], options, report)
        assert played(splits(stream, pick), options, report) == plain
        tried += 1

    check()
    report.tried(
        "Fuzzing", f"the same events written otherwise: {flow}", "-", "the same", cases=tried
    )


@tried_often
@given(text=st.text(max_size=30), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_a_text_is_the_same_wherever_its_deltas_are_cut(
    text: str, cuts: list[int], report: Report
) -> None:
    halves = text.encode("utf-16-le")
    edges = sorted({0, len(halves), *(2 * cut for cut in cuts if 2 * cut < len(halves))})
    deltas = [
        halves[begin:end].decode("utf-16-le", "surrogatepass")
        for begin, end in itertools.pairwise(edges)
    ]
    chunks = [*map(chunk, deltas), chunk(finish_reason="stop")]
    assert played([sse(*chunks)], FLOWS["chat completions"][1], report).text == text
    report.tried("Fuzzing", "pairs of surrogates cut in two", "-", "the text")


@pytest.mark.parametrize("flow", ["chat completions", "text completions", "web, snapshots"])
def test_mutated_documents_end_as_promised_whatever_their_status(flow: str, report: Report) -> None:
    _, options = FLOWS[flow]
    tried = 0

    @tried_often
    @given(
        picks(),
        st.sampled_from(DOCUMENTS),
        st.just(200) | st.sampled_from([201, 204, 302, 304, 400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503, 529, 599]),
        st.sampled_from([True, False]),
        st.dictionaries(
            st.sampled_from(["retry-after", "retry-after-ms", "x-request-id", "x-should-retry", "date", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "content-type"]),
            st.sampled_from(HEADERS),
            max_size=3,
        ),
    )  # fmt: skip
    def check(
        pick: Pick, document: bytes, status: int, is_streamed: bool, headers: dict[str, str]
    ) -> None:
        nonlocal tried
        body = mutated_document(document, pick)
        note(repr(body))
        asked = (
            options
            if options.get("is_web")
            else {**options, "stream": is_streamed, "wants_parts": is_streamed}
        )
        whole = played([body], asked, report, status=status, headers=headers)
        cut = played(splits(body, pick), asked, report, status=status, headers=headers)
        assert cut == whole
        tried += 1

    check()
    report.tried("Fuzzing", f"mutated documents of any status: {flow}", "-", SEEN, cases=tried)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
@pytest.mark.parametrize("flow", ["chat completions", "web, snapshots"])
@pytest.mark.parametrize(
    "body",
    [
        b"x" * 1_000_000,
        b"<html><title>" + b"x" * 1_000_000,
        b"<html><title>" + b"x" * 1_000_000 + b"</title>",
        json.dumps({"error": {"message": "x" * 1_000_000, "code": "y" * 1_000_000, "param": "z" * 1_000_000}}).encode(),
        json.dumps({"detail": [{"loc": ["x" * 1000] * 1000, "msg": "y" * 1000}] * 20}).encode(),
        b'{"error":' * 100_000,
        b"data: " + b"x" * 1_000_000 + b"\n\n",
        b"event: error\ndata: " + b"x" * 1_000_000 + b"\n\n",
        b"event: delta_encoding\ndata: " + json.dumps("x" * 1_000_000).encode() + b"\n\n",
    ],
    ids=["text", "page", "title", "fields", "places", "depth", "event", "error-event", "encoding"],
)  # fmt: skip
def test_a_long_body_makes_no_long_message(
    body: bytes, flow: str, status: int, report: Report
) -> None:
    played([body], FLOWS[flow][1], report, status=status)
    report.tried("Fuzzing", "bodies of a megabyte", "-", "a message of at most 1,100 characters")


FINISHED: Final = {
    "chat completions": sse(chunk("Hel"), chunk("lo"), chunk(finish_reason="stop"), done=False),
    "web, snapshots": made.events(*made.SNAPSHOTS, done=False),
    "web, deltas": made.events(*made.DELTAS, done=False),
}


@pytest.mark.parametrize("is_done", [False, True], ids=["finish_reason", "done"])
@pytest.mark.parametrize("flow", FINISHED)
def test_what_follows_a_finished_reply_changes_nothing(
    flow: str, is_done: bool, report: Report
) -> None:
    finished = FINISHED[flow] + b"data: [DONE]\n\n" * is_done
    options = FLOWS[flow][1]
    expected = played([finished], options, report)
    assert expected.text is not None
    tried = 0

    @tried_often
    @given(picks(), st.sampled_from([None, LOST]))
    def check(pick: Pick, failure: TransportFailure | None) -> None:
        nonlocal tried
        if is_done:  # whatever it is, it is not read
            rest = mutated(OFFICIAL[pick(len(OFFICIAL))], STRANGE, pick)
        else:  # what is no part of a reply
            rest = NOISE[pick(len(NOISE))]
            for _ in range(pick(3)):
                rest = mutated_bytes(rest, pick)
        note(repr(rest))
        outcome = played(splits(finished + rest, pick), options, report, failure=failure)
        assert outcome == expected
        tried += 1

    check()
    where = "`[DONE]`" if is_done else "the last event of the reply"
    report.tried("Fuzzing", f"noise after {where}: {flow}", "-", "the reply", cases=tried)


NOISE: Final = (
    b": comment\n\n", b"\n\n\n\r\n", b"{", b"data: {\n\n", b"data: \xff\xfe\n\n", b"event: error\ndata: x\n\n", b'data: {"error": "late"}\n\n',
    b"<html>", b"text\n\n", b"retry: 1\n\n", b"id: 1\n\n", b'data: {"error": {"message": "late", "code": 1}}\n\n', b"event: ping\n\n",
    b"data: null\n\n", b"\x00\x00", b"data: {}\n\n", b"error: late\n\n",
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}\n\n',
)  # fmt: skip
