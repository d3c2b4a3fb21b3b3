"""The benchmarks do what they measure: work is counted and texts are compared, nothing is timed.

Every scenario runs once, with sizes that take a moment, and with the clients that are installed. What the documentation shows
of the comparison is what `benchmarks/results.json` says. A plot is compared by its texts and the lengths of its bars, which no
version of matplotlib changes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from benchmarks import peer_clients, peers, plots, processes, stores
from benchmarks.fast_server import REPLY, parted_answer, stream_text, streamed_answer
from benchmarks.long_thread import build, make_store
from benchmarks.plan import NPM, PEERS, SCENARIOS, command
from benchmarks.results import CROWD, METRICS, Measured, Results, table
from benchmarks.sizes import WHOLE, Sizes
from benchmarks.spending import Spent, costs, measured
from benchmarks.targets import TARGETS, Figure, Target, target_table
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
    with processes.serving() as origin:
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


def test_a_stream_in_pieces_is_the_same_stream() -> None:
    whole = streamed_answer(7, 2, has_usage=True)
    parts = parted_answer(7, 2, 3, has_usage=True)
    assert len(parts) == 3
    assert b"".join(parts) == whole
    assert all(part.endswith(b"\n\n\r\n") for part in parts[:-1]), "it ends within a chunk"
    assert parted_answer(7, 2, 100, has_usage=True)[-1] == b"0\r\n\r\n"


def test_the_server_tells_how_many_streams_it_was_sending_at_once(fast_server: str) -> None:
    def most() -> int:
        counting = HTTPConnection(fast_server)
        counting.request("GET", "/most")
        told = int(counting.getresponse().read())
        counting.close()
        return told

    connections = [HTTPConnection(fast_server) for _ in range(3)]
    for connection in connections:
        body = json.dumps({"stream": True})
        connection.request("POST", "/4/1/2/500/v1/chat/completions", body)
    for connection in connections:
        assert connection.getresponse().read().endswith(b"data: [DONE]\n\n")
        connection.close()
    assert most() == 3
    left = HTTPConnection(fast_server)
    left.request("POST", "/4/1/2/60000/v1/chat/completions", json.dumps({"stream": True}))
    left.getresponse().close()
    left.close()
    assert most() == 1
    until = time.monotonic() + 30
    while most():
        assert time.monotonic() < until, "it does not notice that nobody reads"
        time.sleep(0.01)


SMALL: Sizes = {
    "seconds": 0,
    "events": 5,
    "batch": 2,
    "long_events": 8,
    "messages": 60,
    "many_messages": 70,
    "streams": 4,
    "stream_events": 6,
    "pieces": 2,
    "pause": 150,
    "calls": 4,
    "first_calls": 2,
}
OURS_AND_FLOORS = ("chatgpt", "floor", "chatgpt_async", "floor_async", "floor_bounded")


@pytest.fixture(scope="module")
def small_run() -> Results:
    return peers.measure(rounds=1, sizes=SMALL, has_warm_up=False)


def test_every_client_that_is_there_is_compared(small_run: Results, tmp_path: Path) -> None:
    assert {*peer_clients.CLIENTS, NPM} == set(PEERS)
    assert set(OURS_AND_FLOORS) <= set(small_run.clients)
    assert len(small_run.clients) + len(small_run.left_out) == len(PEERS)
    assert "npm `chatgpt`" in small_run.left_out
    for name, client in small_run.clients.items():
        for metric in METRICS if name != "floor_bounded" else [CROWD]:
            if metric.kind == "bytes" and not Path("/proc/self/status").exists():
                continue
            [figure] = client.figures[metric.name][metric.kind]
            assert figure > 0, (name, metric.name)
            ratio = small_run.ratio(metric, name)
            assert ratio is not None
            assert ratio == 1 or name != client.baseline
    small_run.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == small_run


def test_every_target_is_measured(small_run: Results) -> None:
    for target in TARGETS:
        figures = [target.ours, *([target.theirs] if target.theirs else [])]
        for figure in figures:
            if figure.client in OURS_AND_FLOORS and figure.kind == "cpu":
                assert small_run.rounds_of(figure.client, figure.metric, "cpu"), figure
                assert small_run.rounds_of(figure.client, figure.metric, "wall"), figure


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_sockets_and_streams_at_once_are_counted(small_run: Results) -> None:
    for name in ("chatgpt", "chatgpt_async"):
        assert small_run.rounds_of(name, "run_sockets", "count") == [0]
        assert len(small_run.rounds_of(name, "run_memory", "bytes")) == 1
    [memory] = small_run.rounds_of("chatgpt_async", "crowd_memory", "bytes")
    assert memory > 1e6
    for name in ("chatgpt_async", "floor_async", "floor_bounded"):
        [most] = small_run.rounds_of(name, "crowd_at_once", "count")
        assert 2 <= most <= 4


def test_clients_take_turns_and_the_first_round_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def run_client(given: Sequence[str]) -> tuple[dict[str, dict[str, float]], list[str]]:
        asked.append(given[-3])
        return {"make": {"cpu": len(asked)}}, [*SCENARIOS["calls"].texts(given[-3], SMALL)]

    clients = {"floor": None, "chatgpt": None, "floor_async": 2}
    monkeypatch.setitem(SCENARIOS, "calls", evolve(SCENARIOS["calls"], clients=clients))
    monkeypatch.setattr(peers, "run_client", run_client)
    results = peers.measure([*clients], ["calls"], rounds=3, sizes=SMALL)
    first, rare = ["floor", "chatgpt"], "floor_async"
    assert asked == [*first, *first, rare, *first, rare, *first]
    assert results.rounds_of("floor", "make", "cpu") == [3, 6, 9]
    assert results.rounds_of(rare, "make", "cpu") == [5, 8]


@pytest.mark.parametrize(
    ("scenario", "client"),
    [("calls", "floor"), ("prompts", "chatgpt"), ("crowds", "floor_bounded")],
)
def test_a_client_that_reads_another_text_gives_no_figures(
    monkeypatch: pytest.MonkeyPatch, scenario: str, client: str
) -> None:
    planned = SCENARIOS[scenario]

    def other_texts(client: str, sizes: Sizes) -> Sequence[str]:
        *texts, last = planned.texts(client, sizes)
        return [*texts, f"{last}!"]

    monkeypatch.setitem(SCENARIOS, scenario, evolve(planned, texts=other_texts))
    with pytest.raises(processes.ClientFailedError, match=f"{client} has read another text"):
        peers.measure([client], [scenario], rounds=1, sizes=SMALL)


def test_a_client_that_fails_says_how() -> None:
    with pytest.raises(processes.ClientFailedError, match="(?s)code 1.*out of order"):
        processes.run_client([sys.executable, "-c", "exit('out of order')"])


def test_what_a_machine_does_not_allow_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "allow_open_files", lambda count: count < 1_000)
    sizes: Sizes = {**SMALL, "streams": 1_000}
    results = peers.measure(["floor_async"], ["crowds"], rounds=1, sizes=sizes)
    assert results.left_out == {"crowds": "too few files may be open"}
    assert results.clients["floor_async"].figures == {}


def test_many_files_may_be_open_as_far_as_the_limit_allows() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert processes.allow_open_files(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    if before[1] != resource.RLIM_INFINITY:
        assert not processes.allow_open_files(before[1] + 1)


def test_the_long_thread_of_npm_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "why_missing", lambda *_: None)
    monkeypatch.setattr(peers, "_versions", lambda *_: {})
    monkeypatch.setattr(peers, "run_client", lambda given: pytest.fail(f"{given} is run"))
    results = peers.measure([NPM], ["prompts"], rounds=1, sizes=SMALL, has_npm_thread=False)
    assert results.left_out == {"the long thread of npm `chatgpt`": "as was asked"}


def test_npm_gets_the_thread_that_ours_gets() -> None:
    *_, scenario, origin, sizes = command("prompts", NPM, "http://origin", SMALL, Path("npm"))
    assert (scenario, origin) == ("prompts", "http://origin")
    thread = json.loads(sizes)["thread"]
    [text] = SCENARIOS["prompts"].texts(NPM, SMALL)
    assert text.startswith(thread["sentence"].replace("{}", "0"))
    assert text.endswith(thread["question"])


def test_kinds_of_work_take_turns() -> None:
    done: list[str] = []

    def work(kind: str, cpu: float) -> Callable[[], tuple[Spent, str]]:
        def do() -> tuple[Spent, str]:
            done.append(kind)
            return {"cpu": cpu, "wall": 2 * cpu}, f"{kind}{done.count(kind)}"

        return do

    spent, texts = costs({"long": work("long", 6.0), "short": work("short", 1.0)}, 10)
    assert done == ["long", "short", "short", "long", *["short"] * 8]
    assert spent == {"long": {"cpu": 6, "wall": 12}, "short": {"cpu": 1, "wall": 2}}
    assert texts == ["long2", "short10"]
    spent, texts = costs({"once": measured(lambda: "text")}, 0)
    assert set(spent["once"]) == {"cpu", "wall"}
    assert texts == ["text"]


def test_who_is_unknown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        peers.main(["chatgpt", "chatgtp"])
    assert "there is no chatgtp" in capsys.readouterr().err


def test_a_part_of_the_run_does_not_replace_what_the_documentation_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def measure(clients: Sequence[str], scenarios: Sequence[str], **options: object) -> Results:
        asked.append((*clients, *scenarios, options["rounds"]))
        return some_results()

    shown, other = tmp_path / "shown.json", tmp_path / "other.json"
    monkeypatch.setattr(peers, "measure", measure)
    monkeypatch.setattr(peers, "RESULTS", shown)
    peers.main(["chatgpt", "--rounds", "2"])
    peers.main(["--scenarios", "calls", "--results", str(other)])
    assert not shown.exists()
    assert Results.load(other) == some_results()
    assert "not measured" not in capsys.readouterr().out
    peers.main([])
    assert Results.load(shown) == some_results()
    assert "not measured" in capsys.readouterr().out
    assert asked[0] == ("chatgpt", *SCENARIOS, 2)
    assert asked[1] == (*PEERS, "calls", 7)


def some_results() -> Results:
    def costing(title: str, baseline: str, microseconds: list[float]) -> Measured:
        seconds = [figure / 1e6 for figure in microseconds]
        figures = {metric.name: {metric.kind: seconds} for metric in METRICS}
        return Measured(title, baseline, is_floor=False, figures=figures)

    return Results(
        date="2026-01-02",
        machine="2 cores of something",
        versions={"chatgpt-sdk": "1.0", "Python": "3.11"},
        sizes=WHOLE,
        rounds=3,
        clients={
            "chatgpt": costing("`chatgpt`", "chatgpt", [20, 900, 10]),
            "other": costing("`other`", "chatgpt", [1_500, 1_400, 9_000]),
            "fast": costing("`fast`", "chatgpt", [5, 5, 5]),
            "elsewhere": Measured("`elsewhere`", "chatgpt", is_floor=True, figures={}),
        },
        left_out={"`third`": "not installed"},
    )


def test_the_table_shows_medians_and_ratios() -> None:
    lines = table(some_results()).splitlines()
    cells = [line.split(" | ")[1] for line in lines[2:5]]
    assert cells == ["**20**", "1,500 (75×)", "5.0 (0.25×)"]  # noqa: RUF001 - as in the table
    assert "2,000 events, one in each chunk" in "\n".join(lines)
    assert lines[-1] == "Left out: `third` (not installed)."
    assert "`elsewhere`" not in table(some_results())


def test_what_was_not_measured_stays_empty() -> None:
    results = some_results()
    del results.clients["other"].figures["memory"]
    assert table(results).splitlines()[3].endswith(" |  |")


def judged(
    at_most: float, ours: Sequence[float], theirs: Sequence[float]
) -> tuple[Target, Results]:
    """A target, and the results that it is judged by."""
    results = some_results()
    results.clients["chatgpt"].figures["made"] = {"cpu": [*ours]}
    results.clients["other"].figures["made"] = {"cpu": [*theirs]}
    target = Target("it", "that", Figure("chatgpt", "made"), Figure("other", "made"), at_most)
    return target, results


@pytest.mark.parametrize(
    ("at_most", "ours", "theirs", "limit", "shown", "by_round", "is_met"),
    [
        (1.5, [3, 90, 1], [2, 2, 1], "1.5", "1.50", ["1.50", "45.0", "1.00"], True),
        (1.5, [3.01], [2], "1.5", "1.50", ["1.50"], False),
        (1 / 9, [1, 2], [18, 18, 900], "1/9", "1/12.0", ["1/18.0", "1/9.00"], True),
        (1 / 9, [2.5], [18], "1/9", "1/7.20", ["1/7.20"], False),
        (1 / 2_000, [1], [4_312], "1/2,000", "1/4,312", ["1/4,312"], True),
    ],
)
def test_a_target_is_judged_by_the_ratio_of_the_medians(
    at_most: float,
    ours: list[float],
    theirs: list[float],
    limit: str,
    shown: str,
    by_round: list[str],
    is_met: bool,
) -> None:
    target, results = judged(at_most, ours, theirs)
    measured = target.measured(results)
    assert measured is not None
    assert (target.limit, target.shown(measured)) == (limit, shown)
    assert [target.shown(each) for each in target.by_round(results)] == by_round
    assert target.is_met(results) is is_met


def test_what_must_not_grow_is_judged_by_itself() -> None:
    results = some_results()
    results.clients["chatgpt"].figures["grown"] = {"bytes": [1e6, 3e6, 2e6], "count": [0, 0, 1]}
    memory = Target("memory", "more", Figure("chatgpt", "grown", "bytes"), None, 2e6)
    sockets = Target("sockets", "more", Figure("chatgpt", "grown", "count"), None, 0)
    assert (memory.limit, sockets.limit) == ("2 MB", "none")
    assert memory.by_round(results) == [1e6, 3e6, 2e6]
    assert (memory.measured(results), memory.is_met(results)) == (2e6, True)
    assert sockets.is_met(results) is True
    assert (memory.shown(1.25e6), sockets.shown(1)) == ("1.2 MB", "1")
    results.clients["chatgpt"].figures["grown"] = {"count": [1]}
    assert (memory.is_met(results), sockets.is_met(results)) == (None, False)


def test_the_table_of_targets_shows_what_is_met_and_what_is_missed() -> None:
    results = some_results()
    clients = results.clients
    renamed = {"chatgpt": clients["chatgpt"], "openai": clients["other"], "floor": clients["fast"]}
    results = evolve(results, clients=renamed)
    lines = target_table(results).splitlines()
    assert len(lines) == 2 + len(TARGETS)
    assert lines[2] == "| streamed event | the floor | 1.5 | 4.00 | 2.00 to 180 | **no** |"
    assert lines[3] == "| streamed event | `openai` | 1/9 | 1/75.0 | 1/900 to 1/1.56 | yes |"
    assert lines[4].endswith(" |  |  | not measured |")
    assert "not measured" not in target_table(results, has_all=False)


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
        scale = bars["chatgpt_async"] / drawn_bars["chatgpt_async"]
        for client, length in drawn_bars.items():
            assert bars[client] == pytest.approx(length * scale, rel=1e-3), (name, client)
    page = plots.PAGES[-1].read_text("utf-8")
    assert table(results) in page
    assert target_table(results) in page
    for path in plots.PAGES:
        page = path.read_text("utf-8")
        assert plots.with_tables(page, results) == page, f"python -m benchmarks.plots: {path}"
