"""`chatgpt ask` between pipes: what is sent, what standard input adds, how the answer is printed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import get_args

import pytest

from chatgpt.testing import Answer, ChatGPTServer, RawAnswer
from chatgpt.testing.web import Dialect
from tests.cli.answers import HeldParts
from tests.cli.processes import (
    COMMAND,
    LIMIT,
    environment,
    in_shell,
    on_terminal,
    opened_store,
    run,
    start,
    store_file,
)
from tests.cli.screens import finished
from tests.core.web.made import events, message, snapshot


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def prompts(server: ChatGPTServer) -> list[object]:
    """What the last message of each request says."""
    return [request.messages[-1]["content"] for request in server.requests]


# --- how an answer is printed ----------------------------------------------------------------


def test_a_pipe_has_each_part_as_soon_as_it_is_there(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    parts = HeldParts("Grüße", " aus\n", "東京 👋")
    chatgpt_server.replies = parts
    with start(["--no-store", "hi"], env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        assert process.stdout.read(5) == "Grüße"
        parts.release()
        assert process.stdout.read() == " aus\n東京 👋\n"
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_the_text_is_printed_as_it_is(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    """Not as Markdown, with whatever it holds; only an end of line is added, where there is none."""
    text = (
        "# Title\n\n```python\nprint('ä', \"東京\")\n```\n\n| a | b |\n|---|---|\n"
        "\n  indented\ttab\r\nCR, \x1b[31mescape\x1b[0m, \u2028 and a\0zero\n\n"
    )
    for options in ([], ["--no-stream"], ["--raw"]):
        chatgpt_server.replies = [text]
        done = run([*options, "hi"], env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, text, "")
        is_streamed = "--no-stream" not in options
        assert chatgpt_server.requests[-1].json["stream"] is is_streamed
    chatgpt_server.replies = ["no end of line 👋", ""]
    assert run(["hi"], env=env).stdout == "no end of line 👋\n"
    done = run(["hi"], env=env)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_encoding_without_the_letters_of_an_answer_fails_nothing(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = ["Tokyo 東"]
    done = run(["hi"], env={**env, "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "Tokyo ?\n", "")


def test_json(env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path) -> None:
    chatgpt_server.replies = [
        Answer(text="Zoë 東京", id="answer-1", reasoning="Hm."),
        Answer(parts=["two", " parts"], id="answer-2", finish_reason="length"),
    ]
    done = run(["--json", "hi"], env=env)
    assert done.stdout.isascii()
    assert done.stdout.count("\n") == 1
    first = json.loads(done.stdout)
    with opened_store(tmp_path) as store:
        (conversation,) = store.conversations()
        question = store.conversation_messages(conversation.id)[0]
    assert first.pop("created_at").endswith("+00:00")
    assert first.pop("usage")["completion_tokens"] == 2
    assert first == {
        "id": "answer-1",
        "conversation_id": conversation.id,
        "parent_message_id": question.id,
        "role": "assistant",
        "name": None,
        "text": "Zoë 東京",
        "reasoning": "Hm.",
        "model": "gpt-5.4-mini",
        "finish_reason": "stop",
        "request_id": "req_1",
    }
    assert chatgpt_server.requests[0].json["stream"] is False

    done = run(["--json", "-s", "-c", "hi"], env=env)
    *deltas, last = (json.loads(line) for line in done.stdout.splitlines())
    assert deltas == [{"delta": "two"}, {"delta": " parts"}]
    assert (last["text"], last["parent_message_id"] != "answer-1") == ("two parts", True)
    assert last["conversation_id"] == conversation.id
    assert last.keys() == {*first, "created_at", "usage"}
    assert done.stderr == "chatgpt: the answer is cut at its limit of tokens\n"


def test_what_is_missing_is_told_in_a_line_each(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = [Answer(text="Half", finish_reason="content_filter")]
    done = run(["hi"], env=env)
    assert done.stdout == "Half\n"
    assert done.stderr == "chatgpt: the answer is cut by the server's content filter\n"


# --- what is sent ----------------------------------------------------------------------------


def test_the_options_arrive(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    wrong = {**env, "OPENAI_API_KEY": "sk-wrong", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    options = [
        *("-k", chatgpt_server.api_key, "-o", "org-1", "--host", chatgpt_server.base_url),
        *("-m", "gpt-4o", "--system", "Be terse.", "-t", "20"),
        *("-p", "temperature=0.5", "-p", "user=a=b c", "-p", 'stop=["x", "y"]'),
        *("-p", "seed=null", "-p", "n=1", "-p", "logprobs=true", "-p", "note="),
    ]
    done = run(["Why", *options, "is", "the  sky", "blue?"], env=wrong)
    assert (done.returncode, done.stderr) == (0, "")
    (request,) = chatgpt_server.requests
    assert request.headers["openai-organization"] == "org-1"
    sent = dict(request.json)
    assert sent.pop("messages") == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Why is the  sky blue?"},
    ]
    assert sent == {
        "model": "gpt-4o",
        "temperature": 0.5,
        "user": "a=b c",
        "stop": ["x", "y"],
        "n": 1,
        "logprobs": True,
        "note": "",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_environment_is_taken_where_no_option_is(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    env = {**env, "OPENAI_MODEL": "gpt-5.4", "OPENAI_ORG_ID": "org-2"}
    run(["hi"], env=env)
    run(["--system", "", "-m", "gpt-4o", "-o", "org-3", "hi"], env=env)
    first, second = chatgpt_server.requests
    assert (first.json["model"], first.headers["openai-organization"]) == ("gpt-5.4", "org-2")
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert (second.json["model"], second.headers["openai-organization"]) == ("gpt-4o", "org-3")
    assert [message["role"] for message in second.messages] == ["user"]


def test_the_model_can_be_a_parameter_too(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """The original's command took it so; what is given must not be dropped without a word."""
    assert run(["-p", "model=gpt-4o", "hi"], env=env).returncode == 0
    assert chatgpt_server.requests[0].json["model"] == "gpt-4o"


def test_options_that_are_wrong(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    wrong = (
        (["-p", "temperature"], "'temperature' is no KEY=VALUE, such as temperature=0.2"),
        (["-p", "=1"], "'=1' is no KEY=VALUE"),
        (["-t", "soon"], "'soon' is not a valid float"),
        (["-t", "0"], "timeout must be more than 0 seconds"),
        (["-m", " "], "model must not be blank"),
        (["--host", "ftp://example.com"], "must be an http or https URL"),
    )
    for options, words in wrong:
        done = run([*options, "hi"], env=env)
        assert (done.returncode, done.stdout) == (2, ""), options
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert chatgpt_server.requests == []


def test_an_empty_host_is_not_another_server(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """`--host "$VARIABLE"` of a variable that is not set must not send the key elsewhere."""
    nowhere = {**env, "HTTPS_PROXY": "http://127.0.0.1:1", "OPENAI_API_KEY": chatgpt_server.api_key}
    done = run(["--host", "", "hi"], env=nowhere)
    assert "api.openai.com" not in done.stderr
    assert done.returncode in (0, 2)


# --- standard input --------------------------------------------------------------------------


def test_standard_input_joins_the_prompt_or_is_it(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    expected: dict[tuple[str, str | bytes], str] = {
        ("explain", "def f():\n    pass\n"): "explain\n\ndef f():\n    pass",
        ("", "only\ninput\n\n"): "only\ninput",
        ("beside nothing", ""): "beside nothing",
        ("beside blanks", " \n\n"): "beside blanks",
        ("a -", "waited for"): "a\n\nwaited for",
        ("no UTF-8", b"caf\xe9\n"): "no UTF-8\n\ncaf\ufffd",
        ("a mark", b"\xef\xbb\xbftext"): "a mark\n\ntext",
        ("UTF-16", "\ufeffGrüße\n".encode("utf-16-le")): "UTF-16\n\nGrüße",
        ("CR LF", "a\r\nb\r\n"): "CR LF\n\na\r\nb",
    }
    for (words, given), prompt in expected.items():
        done = run(["--no-store", *words.split(" ")] if words else [], env=env, stdin=given)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert prompts(chatgpt_server)[-1] == prompt
    assert len(chatgpt_server.requests) == len(expected)


def test_an_input_longer_than_a_pipe_holds_arrives_whole(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    text = "".join(f"line {number} ä\n" for number in range(6000))
    done = run(["--no-store", "-m", "gpt-4.1", "count"], env=env, stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert prompts(chatgpt_server) == [f"count\n\n{text.rstrip()}"]


def test_without_a_prompt(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    for words, given in (([], None), ([], " \n\t\n"), (["-"], ""), (["", " "], None)):
        done = run(words, env=env, stdin=given)
        assert (done.returncode, done.stdout) == (2, ""), (given, words)
        assert done.stderr.startswith("chatgpt: Give a prompt")
        assert done.stderr.count("\n") == 1
    assert chatgpt_server.requests == []


def test_input_that_is_no_text(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    done = run(["what is this?"], env=env, stdin=b"\x7fELF\0\0\1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "chatgpt: Standard input is no text: it holds zero bytes.\n"
    assert chatgpt_server.requests == []


def test_standard_input_that_is_closed(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    done = in_shell('"$@" <&-', ["hi"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert prompts(chatgpt_server) == ["hi"]
    done = in_shell('"$@" <&-', env=env)
    assert (done.returncode, done.stderr[:22]) == (2, "chatgpt: Give a prompt")


@pytest.fixture
def open_pipe() -> Iterator[int]:
    """The end to read from of a pipe that somebody holds open, and to which nobody writes."""
    reading, writing = os.pipe()
    yield reading
    os.close(writing)
    os.close(reading)


def test_how_long_an_open_pipe_is_waited_for(
    env: dict[str, str], chatgpt_server: ChatGPTServer, open_pipe: int
) -> None:
    """Five seconds; but to its end where something came, where `-` says so, or where a pipeline is slow."""
    slow = f'(read _; echo at last) | "{COMMAND}" --no-store slow'
    with (
        Popen(
            ["sh", "-c", slow], env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True
        ) as piped,
        start(["--no-store", "dash", "-"], env=env) as dash,
        start(["--no-store", "begun"], env=env) as begun,
    ):
        assert dash.stdin is not None
        assert begun.stdin is not None
        assert piped.stderr is not None
        begun.stdin.write("one\n")
        begun.stdin.flush()
        done = run(["alone"], env=env, stdin=open_pipe)
        told = piped.stderr.readline()
        assert {*prompts(chatgpt_server)} - {"slow"} == {"alone"}
        assert done.returncode == 0
        assert done.stdout.startswith("You said: alone ")
        assert done.stderr.startswith("chatgpt: nothing came on standard input for 5 seconds")
        assert done.stderr.count("\n") == 1

        begun.stdin.write("two\n")
        assert begun.communicate()[1] == ""
        dash.stdin.write("late\n")
        assert dash.communicate()[1] == ""
        said, _ = piped.communicate("\n", timeout=LIMIT)
    assert (begun.returncode, dash.returncode, piped.returncode) == (0, 0, 0)
    others = {"alone", "begun\n\none\ntwo", "dash\n\nlate"}
    if Path("/proc/self/fdinfo").exists():
        assert told.startswith("chatgpt: waiting for standard input")
        assert {*prompts(chatgpt_server)} == {*others, "slow\n\nat last"}
    else:
        assert {*prompts(chatgpt_server)} == {*others, "slow"}
    assert said.startswith("You said: slow")


def test_an_open_pipe_is_not_looked_at_where_it_is_not_needed(
    env: dict[str, str], chatgpt_server: ChatGPTServer, open_pipe: int
) -> None:
    """None of these waits, and none of them says that nothing came."""
    run(["hi"], env=env)
    keyless = {**env, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    for words, given, code in (
        (["list"], env, 0),
        (["show"], env, 0),
        (["--nix", "hi"], env, 2),
        (["-p", "x", "hi"], env, 2),
        (["-c", "-n", "unknown", "hi"], env, 9),
        (["-m", "gpt-4o", "list"], env, 2),
        (["hi"], keyless, 2),
        ([], keyless, 2),
        (["hi"], {**env, "CHATGPT_STORE": f"{env['CHATGPT_STORE']}/x"}, 10),
    ):
        done = run(words, env=given, stdin=open_pipe)
        assert done.returncode == code, (words, done.stderr)
        assert "standard input" not in done.stderr
        assert done.stderr.count("\n") == (0 if code == 0 else 1), words
    assert len(chatgpt_server.requests) == 1


def test_a_writer_may_be_late(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """It writes after the command has begun, which the file of its store shows."""
    with start(["explain"], env=env) as process:
        assert process.stdin is not None
        while not store_file(tmp_path).exists():
            assert process.poll() is None
        assert chatgpt_server.requests == []
        process.stdin.write("late\n")
        assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert prompts(chatgpt_server) == ["explain\n\nlate"]


# --- the web flow ----------------------------------------------------------------------------


def test_the_web_flow_goes_on_across_processes(
    tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    options = chatgpt_server.proxy_options
    env = environment(tmp_path, OPENAI_ACCESS_TOKEN=options["access_token"])
    web = ["--web", "--host", options["api_reverse_proxy_url"]]
    for dialect in get_args(Dialect):
        chatgpt_server.web.dialect = dialect
        done = run([*web, f"My name is Ada ({dialect})."], env=env)
        assert done.stdout.startswith(f"You said: My name is Ada ({dialect}).")
        done = run([*web, "-c", "Again?"], env=env)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"it began with: My name is Ada ({dialect}).\n")
        assert len(chatgpt_server.requests[-1].messages) == 3
    with opened_store(tmp_path) as store:
        last, _ = store.conversations()
        told = [(message.role, message.text[:8]) for message in store.path(last.last_message_id)]
    assert [role for role, _ in told] == ["assistant", "user", "assistant", "user"]
    assert [text for _, text in told[1::2]] == ["Again?", "My name "]
    assert last.id in chatgpt_server.web.conversations

    done = run([*web, "--no-stream", "--no-store", "-m", "gpt-4", "--json", "hi"], env=env)
    assert json.loads(done.stdout)["text"].startswith("You said: hi")
    assert chatgpt_server.requests[-1].json["model"] == "gpt-4"
    with opened_store(tmp_path) as store:
        assert len(store.conversations()) == 2


def test_text_that_the_server_wrote_anew(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    """A pipe has both, as it cannot take back the first; JSON Lines say which is which."""
    options = chatgpt_server.proxy_options
    env = environment(tmp_path, OPENAI_ACCESS_TOKEN=options["access_token"])
    web = ["--web", "--host", options["api_reverse_proxy_url"]]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    body = events(snapshot(message("Hello wor")), snapshot(message("Hallo Welt")))
    chatgpt_server.replies = lambda _: RawAnswer([head + body])
    done = run([*web, "hi"], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello wor\nHallo Welt\n", "")
    done = run([*web, "--no-store", "--json", "-s", "hi"], env=env)
    *parts, last = (json.loads(line) for line in done.stdout.splitlines())
    assert parts == [{"delta": "Hello wor"}, {"text": "Hallo Welt"}]
    assert last["text"] == "Hallo Welt"
    with on_terminal([*web, "--no-store", "hi"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.lines[-1]) == (0, "Hallo Welt")


def test_options_that_are_not_the_web_flows(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    options = chatgpt_server.proxy_options
    env = environment(tmp_path, OPENAI_ACCESS_TOKEN=options["access_token"])
    web = ["--web", "--host", options["api_reverse_proxy_url"]]
    for wrong in (["--system", "x"], ["-p", "n=1"], ["-k", "sk-1"], ["-o", "org"]):
        done = run([*web, *wrong, "hi"], env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is for the official flow" in done.stderr
        assert "sk-1" not in done.stderr
    done = run([*web, "hi"], env=environment(tmp_path))
    assert done.returncode == 2
    assert "set OPENAI_ACCESS_TOKEN" in done.stderr
    assert chatgpt_server.requests == []

    official = environment(tmp_path, chatgpt_server)
    run(["-n", "mine", "hi"], env=official)
    done = run([*web, "-n", "mine", "hi"], env=env)
    assert done.returncode == 2
    assert "mine is no conversation of ChatGPT's own backend" in done.stderr
    assert len(chatgpt_server.requests) == 1
