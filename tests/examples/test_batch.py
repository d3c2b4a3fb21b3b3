"""`examples/batch.py`: every line is answered exactly once, whatever stops a run."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest

from chatgpt.testing import Answer, ChatGPTServer, Fault
from chatgpt.testing.requests import RecordedRequest
from tests.cli.processes import LIMIT, environment, exit_code
from tests.examples.programs import EXAMPLES, Held, run, start
from tests.redis_server import until

SCRIPT = "batch.py"
QUESTIONS = [f"Question {number}?" for number in range(1, 41)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "questions.txt"
    file.write_text("\n\n".join(QUESTIONS) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> Mapping[str, str]:
    return environment(tmp_path, chatgpt_server)


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def asked(server: ChatGPTServer) -> list[str]:
    return [str(request.messages[-1]["content"]) for request in server.requests]


def test_every_line_is_answered_with_limits_on_the_way(
    tmp_path: Path,
    source: Path,
    output: Path,
    env: Mapping[str, str],
    chatgpt_server: ChatGPTServer,
) -> None:
    chatgpt_server.inject(*[Fault(status=429, headers={"retry-after-ms": "1"})] * 15)

    done = run(SCRIPT, source, output, "--system", "Terse.", folder=tmp_path, env=env)

    assert (done.returncode, done.stderr) == (0, "Done. Of the lines asked now, 0 failed.\n")
    assert {record["number"]: record["question"] for record in records(output)} == dict(
        enumerate(QUESTIONS, start=1)
    )
    assert all(record["question"] in record["answer"] for record in records(output))
    assert all(record["finish_reason"] == "stop" and record["tokens"] for record in records(output))
    assert len(chatgpt_server.requests) == len(QUESTIONS) + 15
    assert chatgpt_server.requests[0].messages[0]["content"] == "Terse."
    assert len({request.client_port for request in chatgpt_server.requests}) == 8  # --at-once


@pytest.mark.parametrize("stopped_by", [signal.SIGKILL, signal.SIGINT], ids=lambda each: each.name)
def test_a_run_that_was_stopped_goes_on(
    stopped_by: signal.Signals,
    tmp_path: Path,
    source: Path,
    output: Path,
    env: Mapping[str, str],
    chatgpt_server: ChatGPTServer,
) -> None:
    never = Held("Not", "in time.")

    def respond(request: RecordedRequest) -> Answer:
        is_early = str(request.messages[-1]["content"]) in QUESTIONS[10:]
        return Answer(parts=never) if is_early else Answer(text="Yes.")

    chatgpt_server.replies = respond
    with start(SCRIPT, source, output, "--at-once", "4", folder=tmp_path, env=env) as process:
        until(lambda: len(asked(chatgpt_server)) == 14 and len(records(output)) == 10)
        process.send_signal(stopped_by)
        _, said = process.communicate(timeout=LIMIT)
    never.let_go()
    if stopped_by is signal.SIGINT:
        assert (process.returncode, said) == (
            130,
            "Stopped. The same command goes on from here.\n",
        )
    with output.open("ab") as file:
        file.write(b'{"number": 11, "question": "Qu')  # what a crash of the machine may leave

    chatgpt_server.replies = None
    again = run(SCRIPT, source, output, folder=tmp_path, env=env)

    assert again.returncode == 0
    assert Counter(record["number"] for record in records(output)) == Counter(range(1, 41))
    assert Counter(asked(chatgpt_server)) == Counter(QUESTIONS) + Counter(QUESTIONS[10:14])

    third = run(SCRIPT, source, output, folder=tmp_path, env=env)
    assert third.returncode == 0
    assert len(records(output)) == 40


def test_what_fails_is_written_and_the_run_goes_on(
    tmp_path: Path, output: Path, env: Mapping[str, str], chatgpt_server: ChatGPTServer
) -> None:
    source = tmp_path / "questions.jsonl"
    lines = ['{"id": "a", "question": "One?"}', "no JSON", '{"id": "b"}', '["a list"]']
    source.write_text("\n".join([*lines, '{"id": "c", "question": "Five?"}']), encoding="utf-8")
    chatgpt_server.inject(Fault(status=400))

    done = run(SCRIPT, source, output, "--at-once", "1", folder=tmp_path, env=env)

    assert (done.returncode, done.stderr) == (0, "Done. Of the lines asked now, 4 failed.\n")
    written = records(output)
    assert [record.get("error") for record in written] == [
        "BadRequestError",
        "JSONDecodeError",
        "TypeError",
        "TypeError",
        None,
    ]
    assert (written[0]["id"], written[0]["question"]) == ("a", "One?")
    assert [record.get("line") for record in written[1:4]] == lines[1:4]
    assert (written[4]["id"], "You said: Five?" in written[4]["answer"]) == ("c", True)


def test_no_line_ends_the_run(
    tmp_path: Path, output: Path, env: Mapping[str, str], chatgpt_server: ChatGPTServer
) -> None:
    source = tmp_path / "questions.jsonl"
    lines = [
        r'{"question": "\ud800"}',  # the half of a pair
        "[" * 100_000,
        '{"question": null}',
        '[["question", "a pair"]]',
        '"a string"',
        '{"question": "Whole?"}',
    ]
    source.write_text("\n".join(lines), encoding="utf-8-sig")
    chatgpt_server.replies = ["Half: \ud83d"]

    done = run(SCRIPT, source, output, "--at-once", "1", folder=tmp_path, env=env)

    assert (done.returncode, done.stderr) == (0, "Done. Of the lines asked now, 5 failed.\n")
    written = records(output)
    assert [record.get("error") for record in written] == [
        "UnicodeEncodeError",
        "RecursionError",
        *["TypeError"] * 3,
        None,
    ]
    assert [record.get("line") for record in written] == [*lines[:5], None]
    assert written[5]["answer"].startswith("Half: ")
    assert b"\\ud83d" not in output.read_bytes()  # which other readers of JSON refuse
    assert {record["message"] for record in written[2:5]} == {
        'The line is no JSON object with a "question" that is text.'
    }
    assert asked(chatgpt_server) == ["Whole?"]


def test_what_failed_can_be_the_input_of_another_run(
    tmp_path: Path, output: Path, env: Mapping[str, str], chatgpt_server: ChatGPTServer
) -> None:
    source, failed, again = (tmp_path / f"{name}.jsonl" for name in ("in", "failed", "again"))
    lines = ['{"number": "seven", "question": "One?"}', '{"id": "b", "question": "Two?"}']
    source.write_text("\n".join([*lines, "no JSON"]), encoding="utf-8")
    chatgpt_server.inject(Fault(), Fault(status=400))

    run(SCRIPT, source, output, "--at-once", "1", folder=tmp_path, env=env)
    first = records(output)
    run(SCRIPT, source, output, folder=tmp_path, env=env)  # nothing is left to ask
    written = output.read_text(encoding="utf-8").splitlines(keepends=True)
    select = [line for line in written if "error" in json.loads(line)]
    failed.write_text("".join(select), encoding="utf-8")
    run(SCRIPT, failed, again, "--at-once", "1", folder=tmp_path, env=env)

    assert [record["number"] for record in first] == [1, 2, 3]
    assert records(output) == first
    answered, broken = records(again)
    assert list(answered) == ["number", "id", "question", "answer", "finish_reason", "tokens"]
    assert (answered["number"], answered["id"], answered["question"]) == (1, "b", "Two?")
    assert broken["error"] == "TypeError"
    assert asked(chatgpt_server) == ["One?", "Two?", "Two?"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["questions.txt", "questions.txt"], "would overwrite the questions"),
        (["questions.txt", "one.txt"], "one.txt, line 1, is no output of this script."),
        (["answers.jsonl", "questions.txt"], "questions.txt, line 1, is no output"),
        (["questions.txt", "strange.jsonl"], "strange.jsonl, line 2, is no output"),
        (["missing.txt", "new.jsonl"], "No such file or directory: 'missing.txt'"),
        (["questions.txt", "no/folder.jsonl"], "No such file or directory: 'no/folder.jsonl'"),
        (["latin.txt", "new.jsonl"], "latin.txt is not UTF-8: it has a byte 0xfc."),
        (["questions.txt", "new.jsonl", "--at-once", "0"], "--at-once is at least 1"),
        (["questions.txt", "new.jsonl", "--retries", "-1"], "--retries at least 0"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_is_said_and_no_file_is_changed(
    names: list[str],
    says: str,
    tmp_path: Path,
    source: Path,
    output: Path,
    env: Mapping[str, str],
    chatgpt_server: ChatGPTServer,
) -> None:
    output.write_bytes(b'{"number": 1, "question": "One?", "answer": "Yes."}\n')
    (tmp_path / "one.txt").write_bytes(b"The only question, without an end of its line")
    (tmp_path / "strange.jsonl").write_bytes(output.read_bytes() + b"[1]\n")
    (tmp_path / "latin.txt").write_bytes(
        "Is it a f\N{LATIN SMALL LETTER U WITH DIAERESIS}?\n".encode("latin-1")
    )
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    done = run(SCRIPT, *names, folder=tmp_path, env=env)

    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "goes on from here" not in done.stderr
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert chatgpt_server.requests == []


def test_a_disk_that_is_full_is_said_and_the_run_goes_on_later(
    tmp_path: Path, source: Path, output: Path, env: Mapping[str, str]
) -> None:
    command = [sys.executable, EXAMPLES / SCRIPT, source, output]
    # What measures the coverage would need more room.
    unmeasured = {name: value for name, value in env.items() if not name.startswith("COVERAGE")}
    limited = f"ulimit -f 1; exec {shlex.join(map(str, command))}"  # no file beyond 1 KiB

    full = subprocess.run(
        ["bash", "-c", limited],
        check=False,
        cwd=tmp_path,
        env=unmeasured | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    size = output.stat().st_size
    again = run(SCRIPT, source, output, folder=tmp_path, env=env)

    assert (full.returncode, size) == (1, 1024)
    assert full.stderr == (
        "OSError: [Errno 27] File too large\n"
        "When that is mended, the same command goes on from here.\n"
    )
    assert again.returncode == 0
    assert sorted(record["number"] for record in records(output)) == list(range(1, 41))


QUOTA = '{"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}'


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=401), "AuthenticationError"),
        (Fault(status=404), "NotFoundError"),
        (Fault(status=429, body=QUOTA), "QuotaExceededError"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_would_fail_for_every_line_ends_the_run(
    fault: Fault,
    error: str,
    tmp_path: Path,
    source: Path,
    output: Path,
    env: Mapping[str, str],
    chatgpt_server: ChatGPTServer,
) -> None:
    chatgpt_server.inject(Fault(), Fault(), *[fault] * 40)

    done = run(SCRIPT, source, output, "--at-once", "1", folder=tmp_path, env=env)

    assert done.returncode == 1
    assert done.stderr.startswith(f"{error}: ")
    assert done.stderr.endswith("\nWhen that is mended, the same command goes on from here.\n")
    assert "Traceback" not in done.stderr
    assert len(records(output)) == 2
    assert len(chatgpt_server.requests) == 3


def test_a_missing_key_and_a_server_that_is_away_are_said(
    tmp_path: Path,
    source: Path,
    output: Path,
    env: Mapping[str, str],
    chatgpt_server: ChatGPTServer,
) -> None:
    keyless = {name: value for name, value in env.items() if not name.startswith("OPENAI_")}
    without_a_key = run(SCRIPT, source, output, folder=tmp_path, env=keyless)
    chatgpt_server.stop()
    without_a_server = run(SCRIPT, source, output, "--retries", "0", folder=tmp_path, env=env)

    assert (without_a_key.returncode, without_a_server.returncode) == (1, 1)
    assert without_a_key.stderr.startswith("ConfigurationError: ")
    assert without_a_server.stderr.startswith("APIConnectionError: ")
    assert output.read_text() == ""


def test_a_terminal_shows_how_far_it_is(
    tmp_path: Path, source: Path, output: Path, env: Mapping[str, str]
) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        [str(EXAMPLES / SCRIPT), str(source), str(output)],
        env=dict(env),
        encoding="utf-8",
        timeout=LIMIT,
    )
    try:
        terminal.expect(r"100%.*40/40")
        assert exit_code(terminal) == 0
    finally:
        terminal.close(force=True)
