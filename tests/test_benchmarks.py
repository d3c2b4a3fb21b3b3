"""The benchmarks do what they measure: work is counted and texts are compared, nothing is timed.

What the documentation shows of the comparison with other clients is what `benchmarks/results.json` says. A plot is compared by
its texts and the lengths of its bars, which no version of matplotlib changes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import peer_clients, peers, plots, stores
from benchmarks.fast_server import REPLY, stream_text, streamed_answer
from benchmarks.long_thread import build, make_store
from benchmarks.results import METRICS, Measured, Results, table
from chatgpt import ChatMessage, MemoryStore
from chatgpt.core.fitting import Budget, build_prompt
from chatgpt.core.models import UNKNOWN_FAMILY
from chatgpt.core.needs import LoadThread
from chatgpt.core.prompts import ChatFormat
from chatgpt.core.threads import load_history
from tests.stepping import Stepper, count_words, thread_of


@pytest.mark.parametrize("count", [1_000, 5_000])
def test_each_message_is_counted_once(count: int) -> None:
    asked: list[str] = []

    def tokenizer(text: str) -> int:
        asked.append(text)
        return 1

    store, parent = make_store(count)
    prompt = build(store, parent, 10_000_000, tokenizer)
    assert len(prompt.messages) == count + 2
    # The text and the role of each message, of the system message and of the question.
    assert len(asked) == 2 * (count + 2)


def test_a_long_thread_is_read_in_one_batch_and_counted_as_far_as_needed() -> None:
    stepper = Stepper(tokenizer=count_words)
    stepper.store.save(thread_of(["word " * 20] * 5_000))
    history = stepper.run(load_history("m4999"))
    assert stepper.needs == [LoadThread("m4999", None)]
    counted: dict[str, ChatMessage] = {}
    prompt = stepper.run(
        build_prompt(
            [ChatMessage(id="question", text="word " * 20)],
            history,
            ChatFormat(),
            Budget(UNKNOWN_FAMILY.with_window(1_000), 0),
            counted,
        )
    )
    assert prompt.context.message_count == 41
    assert prompt.context.left_out == 4_960
    # The turn that did not fit any more had to be counted to see it.
    assert len(counted) == 43  # the question included


def test_the_stores_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores, "LENGTH", 20)
    monkeypatch.setattr(stores, "ROUNDS", 1)
    stores.main()
    lines = capsys.readouterr().out.splitlines()
    names = (
        ["memory", "SQLite", "Redis"]
        if shutil.which("redis-server")
        else ["redis-server", "memory", "SQLite"]
    )
    assert [line.split()[0] for line in lines] == names
    for name, store in (("one by one", stores.one_by_one), ("whole", stores.as_a_whole)):
        held = MemoryStore()
        held.save(stores.thread_of(20))
        assert len(store(held)) == 20, name


@pytest.fixture(scope="module")
def fast_server() -> Iterator[str]:
    with peers.serving() as origin:
        yield origin.removeprefix("http://")


@pytest.mark.parametrize("has_usage", [False, True])
def test_the_fast_server_streams_over_a_connection_that_is_kept(
    fast_server: str, has_usage: bool
) -> None:
    request = {"stream": True, "stream_options": {"include_usage": has_usage}}
    connection = HTTPConnection(fast_server)
    for path, body in [("/3/2", request), ("/1/1", {}), ("/3/1", request)]:
        connection.request("POST", f"{path}/v1/chat/completions", json.dumps(body))
        kept = connection.sock
        response = connection.getresponse()
        received = response.read().decode()
        assert connection.sock is kept, "the server closed the connection"
        if not body:
            assert json.loads(received)["choices"][0]["message"]["content"] == REPLY
            continue
        *events, end, rest = received.split("\n\n")
        assert (end, rest) == ("data: [DONE]", "")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert [chunk["usage"]["total_tokens"] for chunk in chunks if "usage" in chunk] == (
            [60] if has_usage else []
        )
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
        assert "".join(delta.get("content", "") for delta in deltas) == stream_text(3)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize(("events_per_chunk", "chunks"), [(1, 6), (2, 3), (4, 2), (100, 1)])
def test_so_many_events_are_in_a_chunk(events_per_chunk: int, chunks: int) -> None:
    body = streamed_answer(3, events_per_chunk, has_usage=False).partition(b"\r\n\r\n")[2]
    sizes = []
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            break
        sizes.append(int(size, 16))
        body = body[sizes[-1] + 2 :]
    assert len(sizes) == chunks
    assert body == b"\r\n"


def test_every_client_that_is_there_is_compared(tmp_path: Path) -> None:
    assert {*peer_clients.CLIENTS, peers.NPM} == set(peers.PEERS)
    results = peers.measure(list(peers.PEERS), rounds=1, events=5, events_per_chunk=2, seconds=0)
    assert {"chatgpt", "chatgpt_async", "floor", "floor_async"} <= set(results.clients)
    assert len(results.clients) + len(results.left_out) == len(peers.PEERS)
    assert "npm `chatgpt`" in results.left_out
    for name, client in results.clients.items():
        for metric in METRICS:
            if metric.kind == "bytes" and not Path("/proc/self/status").exists():
                continue
            [figure] = client.figures[metric.name][metric.kind]
            assert figure > 0, (name, metric.name)
            ratio = results.ratio(metric, name)
            assert ratio is not None
            assert ratio == 1 or name != client.baseline
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_a_client_that_reads_another_text_gives_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "stream_text", lambda events: stream_text(events + 1))
    with pytest.raises(peers.ClientFailedError, match="floor has read another text"):
        peers.measure(["floor"], rounds=1, events=5, seconds=0)


def test_a_client_that_fails_says_how() -> None:
    with pytest.raises(peers.ClientFailedError, match="(?s)code 1.*out of order"):
        peers.run_client([sys.executable, "-c", "exit('out of order')"], "http://unused", 1, 0)


def test_who_is_unknown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        peers.main(["chatgpt", "chatgtp"])
    assert "there is no chatgtp" in capsys.readouterr().err


def some_results() -> Results:
    def measured(title: str, baseline: str, microseconds: list[float]) -> Measured:
        seconds = [figure / 1e6 for figure in microseconds]
        figures = {metric.name: {metric.kind: seconds} for metric in METRICS}
        return Measured(title, baseline, is_floor=False, figures=figures)

    return Results(
        date="2026-01-02",
        machine="2 cores of something",
        versions={"chatgpt-sdk": "1.0", "Python": "3.11"},
        events=2_000,
        events_per_chunk=64,
        rounds=3,
        clients={
            "chatgpt": measured("`chatgpt`", "chatgpt", [20, 900, 10]),
            "other": measured("`other`", "chatgpt", [1_500, 1_400, 9_000]),
            "fast": measured("`fast`", "chatgpt", [5, 5, 5]),
        },
        left_out={"`third`": "not installed"},
    )


def test_the_table_shows_medians_and_ratios() -> None:
    lines = table(some_results()).splitlines()
    cells = [line.split(" | ")[1] for line in lines[2:5]]
    assert cells == ["**20**", "1,500 (75×)", "5.0 (0.25×)"]  # noqa: RUF001 - as in the table
    assert "64 in each chunk" in "\n".join(lines)
    assert lines[-1] == "Left out: `third` (not installed)."


def test_what_was_not_measured_stays_empty() -> None:
    results = some_results()
    results.clients["other"].figures["memory"].clear()
    assert table(results).splitlines()[3].endswith(" |  |")


def shown(svg: str) -> tuple[list[str], dict[str, float]]:
    """The texts of a plot, and the lengths of its bars."""
    texts, bars = [], {}
    for element in ET.fromstring(svg).iter():
        if element.tag.endswith("}text"):
            texts.append("".join(element.itertext()))
        if element.get("id", "").startswith("bar-"):
            across = [float(x) for x in re.findall(r"[ML] ([\d.]+)", element[0].get("d", ""))]
            bars[element.get("id", "").removeprefix("bar-")] = max(across) - min(across)
    return texts, bars


def test_a_plot_is_the_same_each_time_and_its_bars_are_to_scale() -> None:
    results = some_results()
    metric = METRICS[0]
    svg = plots.draw(results, metric, "Cost, µs")
    assert svg == plots.draw(results, metric, "Cost, µs")
    texts, bars = shown(svg)
    assert {"Cost, µs", "chatgpt", "other", "fast", "20", "1,500", "5.0"} <= set(texts)
    assert list(bars) == ["fast", "chatgpt", "other"]
    assert bars["other"] / bars["chatgpt"] == pytest.approx(75, rel=1e-3)
    assert "<image" not in svg
    assert set(re.findall(r'href="(.)', svg)) == {"#"}, "it loads something"


def test_the_documentation_shows_what_was_measured() -> None:
    results = Results.load()
    for name, (metric, title) in plots.PLOTS.items():
        texts, bars = shown((plots.PICTURES / f"{name}.svg").read_text("utf-8"))
        drawn_texts, drawn_bars = shown(plots.draw(results, metric, title))
        assert texts == drawn_texts, name
        scale = bars["chatgpt"] / drawn_bars["chatgpt"]
        for client, length in drawn_bars.items():
            assert bars[client] == pytest.approx(length * scale, rel=1e-3), (name, client)
    page = plots.PAGES[-1].read_text("utf-8")
    assert table(results) in page
    for path in plots.PAGES:
        page = path.read_text("utf-8")
        assert plots.with_table(page, results) == page, f"python -m benchmarks.plots: {path}"
