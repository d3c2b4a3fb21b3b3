"""`%chat_config`, `%%chat` and `%chat_tree` in a shell of IPython, with the embedded server; `test_kernel.py` has their streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from chatgpt import ChatGPTAPI, ChatMessage, SQLiteStore
from chatgpt.testing import ChatGPTServer, Fault
from tests.notebook.conftest import Shell

KEY: Final = "sk-canary-5Hq2xT9w"


def first(text: str) -> str:
    return f"You said: {text} That is the first message of our conversation.\n"


def message(text: str, number: int, begin: str) -> str:
    return (
        f"You said: {text} That is message {number} of our conversation; it began with: {begin}\n"
    )


def model_asked(server: ChatGPTServer) -> object:
    return server.requests[-1].json["model"]


def roles_and_texts(server: ChatGPTServer) -> list[tuple[object, object]]:
    """What the last request said."""
    return [(each["role"], each["content"]) for each in server.requests[-1].messages]


# --- conversations ---------------------------------------------------------------------------


def test_a_cell_is_a_message_and_each_begins_a_conversation(shell: Shell) -> None:
    assert shell.run("%%chat\none\ntwo\n") == first("one\ntwo")
    assert shell.run("%%chat\nthree") == first("three")
    assert shell.run("%%chat -c\nfour") == message("four", 2, "three")
    assert shell.run("%%chat --continue\nfive") == message("five", 3, "three")


def test_names(shell: Shell) -> None:
    shell.run("%%chat --name trip\none")
    shell.run("%%chat -n 'two words'\nother")
    assert shell.run("%%chat --name trip\ntwo") == message("two", 2, "one")
    assert shell.run("%%chat --continue\nthree") == message("three", 3, "one")
    assert shell.run("%%chat -c -n 'two words'\nmore") == message("more", 2, "other")
    assert shell.run("%%chat\nalone") == first("alone")
    assert shell.run("%%chat -c\nagain") == message("again", 2, "alone")


def test_a_conversation_keeps_its_model_and_its_instructions(
    shell: Shell, chatgpt_server: ChatGPTServer
) -> None:
    shell.run("%chat_config --system General. --model gpt-4o")
    shell.run("%%chat --name poem --model gpt-5.4 --system 'You are a poet.'\none")
    shell.run("%%chat\nbetween")
    assert roles_and_texts(chatgpt_server)[0][1] == "General."
    assert model_asked(chatgpt_server) == "gpt-4o"
    shell.run("%%chat --name poem\ntwo")
    assert roles_and_texts(chatgpt_server)[0][1] == "You are a poet."
    assert model_asked(chatgpt_server) == "gpt-5.4"
    shell.run("%%chat -c -s ''\nthree")
    assert roles_and_texts(chatgpt_server)[0] == ("user", "one")
    assert model_asked(chatgpt_server) == "gpt-5.4"


def test_the_reply_is_left_in_a_variable(shell: Shell) -> None:
    shell.run("%%chat --result answer\none")
    answer = shell.value("answer")
    assert isinstance(answer, ChatMessage)
    assert answer.text + "\n" == first("one")


@pytest.mark.parametrize("option", ["", "--name trip "])
def test_a_conversation_that_fails_stays_where_it_was(
    shell: Shell, chatgpt_server: ChatGPTServer, option: str
) -> None:
    shell.run("%%chat --name trip --result kept\none")
    for fault in (Fault(status=400), Fault(error_after=3)):
        chatgpt_server.inject(fault)
        line = shell.fail(f"%%chat {option or '-c '}--model gpt-4o -r kept\ntwo")
        assert line.startswith(("BadRequestError: ", "StreamError: "))
    assert shell.value("kept").text + "\n" == first("one")
    assert shell.run("%%chat -c\nthree") == message("three", 2, "one")
    assert model_asked(chatgpt_server) == "gpt-5.4-mini"


def test_the_tree(shell: Shell) -> None:
    shell.run("%%chat --name trip\none")
    shell.run("%%chat --name other\nelse")
    assert shell_tree(shell, "").messages[0].text == "else"
    assert shell_tree(shell, "trip").messages[0].text == "one"
    assert shell.fail("%chat_tree nobody").startswith("UsageError: There is no conversation named")


def shell_tree(shell: Shell, name: str) -> Any:
    return shell.ip.run_line_magic("chat_tree", name)


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%chat\n", "UsageError: %%chat is a cell magic, but the cell body is empty."),
        ("%%chat\n \n", "UsageError: There is no message: write it below %%chat, in the same cell."),
        ("%%chat -c\nhi", "UsageError: There is no conversation to continue."),
        ("%%chat -c -n x\nhi", "UsageError: There is no conversation named 'x'."),
        ("%%chat --name ''\nhi", "UsageError: name must not be blank."),
        ("%%chat --name\nhi", "UsageError: argument -n/--name: expected one argument"),
        ("%%chat --nobody\nhi", "UsageError: unrecognized arguments: --nobody"),
        ("%%chat word\nhi", "UsageError: unrecognized arguments: there is a word too many"),
        ("%%chat -r 1x\nhi", "UsageError: --result takes the name of a variable, not '1x'."),
        ("%%chat -r class\nhi", "UsageError: --result takes the name of a variable, not 'class'."),
        ("%%chat -n 'a\nhi", "UsageError: A quotation mark is missing."),
        ("%chat_tree", "UsageError: There is no conversation to continue."),
        ("%chat_config --timeout soon", "UsageError: argument --timeout: invalid float value: 'soon'"),
        ("%chat_config --timeout -1", "ConfigurationError: timeout must be more than 0 seconds (math.inf for no limit), not -1.0."),
        ("%chat_config -p x", "UsageError: --param takes NAME=VALUE, such as temperature=0.2."),
        ("%chat_config -p =1", "UsageError: --param takes NAME=VALUE, such as temperature=0.2."),
        ("%chat_config -p max_tokens=x", "TypeError: completion_params['max_tokens'] must be an int, not str."),
        ("%chat_config --store /nowhere/here/x.db", "StoreError: There is no folder '/nowhere/here' for x.db."),
        ("%chat_config --client nobody", "UsageError: nobody is no variable that holds a client of chatgpt; those that do: none."),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_the_cell_fails(
    shell: Shell, chatgpt_server: ChatGPTServer, cell: str, line: str
) -> None:
    before = shell.run("%chat_config --reset")
    assert shell.fail(cell) == line
    assert shell.run("%chat_config") == before, "wrong settings changed something"
    assert chatgpt_server.requests == []


def test_an_error_of_the_server_is_one_line(
    shell: Shell, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("%chat_config --model gpt-5.4")
    chatgpt_server.inject(Fault(status=404))
    assert shell.fail("%%chat\nhi").startswith("NotFoundError: ")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")  # OpenAI itself wants a key
    before = shell.run("%chat_config")
    line = shell.fail("%chat_config --model gpt-4o")
    assert line.startswith("ConfigurationError: ")
    assert "OPENAI_API_KEY" in line
    assert shell.run("%chat_config") == before
    assert shell.run("%%chat\nhi") == first("hi"), "the client that was there goes on"


# --- settings --------------------------------------------------------------------------------


def test_settings_are_shown_and_stay(shell: Shell, chatgpt_server: ChatGPTServer) -> None:
    shown = shell.run(
        "%chat_config -m gpt-4o -s 'Be brief.' -p temperature=0.2 -p stop='[\"x\"]' --timeout 9"
    )
    assert shown.splitlines() == [
        "model: gpt-4o",
        f"server: {chatgpt_server.base_url}/chat/completions",
        "system: Be brief.",
        "params: {'temperature': 0.2, 'stop': ['x']}",
        "timeout: 9.0",
    ]
    assert shell.run("%chat_config") == shown
    shell.run("%%chat\nhi")
    body = chatgpt_server.requests[-1].json
    assert (body["model"], body["temperature"], body["stop"]) == ("gpt-4o", 0.2, ["x"])
    assert roles_and_texts(chatgpt_server)[0][1] == "Be brief."
    shell.run("%chat_config -p stop= -s ''")
    shell.run("%%chat\nhi")
    body = chatgpt_server.requests[-1].json
    assert body["temperature"] == 0.2
    assert "stop" not in body
    assert roles_and_texts(chatgpt_server) == [("user", "hi")]
    shell.run("%chat_config --reset")
    shell.run("%%chat\nhi")
    assert "temperature" not in chatgpt_server.requests[-1].json
    assert model_asked(chatgpt_server) == "gpt-5.4-mini"


def test_another_server(shell: Shell, chatgpt_server: ChatGPTServer) -> None:
    with ChatGPTServer(["Elsewhere."]) as other:
        shell.run(f"%chat_config --api-base-url {other.base_url}")
        assert shell.run("%%chat\nhi") == "Elsewhere.\n"
    assert chatgpt_server.requests == []


def test_new_settings_leave_the_conversations_of_the_memory(shell: Shell) -> None:
    shell.run("%%chat -n trip\none")
    shell.run("%chat_config --model gpt-4o")
    assert shell.run("%%chat -n trip -c\ntwo") == message("two", 2, "one")
    shell.run("%chat_config --reset")
    assert shell.run("%%chat -c\nthree") == message("three", 3, "one")


def test_new_settings_leave_the_instructions_of_a_conversation_in_a_file(
    shell: Shell, chatgpt_server: ChatGPTServer
) -> None:
    shell.run("%chat_config --store x.db")
    shell.run("%%chat -n trip --system 'Be brief.'\none")
    shell.run("%chat_config --model gpt-4o")
    shell.run("%%chat -n trip\ntwo")
    first, *_, last = chatgpt_server.requests[-1].messages
    assert (first["content"], last["content"]) == ("Be brief.", "two")


def test_another_client_has_its_own_conversations(
    shell: Shell, chatgpt_server: ChatGPTServer
) -> None:
    shell.run("%%chat -n trip\none")
    options = f"api_key='sk-test', api_base_url={chatgpt_server.base_url!r}"
    shell.run(f"from chatgpt import ChatGPTAPI\nmine = ChatGPTAPI({options})")
    shell.run("%chat_config --client mine")
    assert shell.fail("%%chat -c\nx") == "UsageError: There is no conversation to continue."
    shell.run("%chat_config --reset")
    assert shell.run("%%chat -n trip -c\ntwo") == message("two", 2, "one")
    shell.run("mine.close()")


@pytest.mark.parametrize(
    "line",
    [
        f"%chat_config --api-key {KEY}",
        f"%chat_config --api-key={KEY} --model gpt-4o",
        f"%chat_config --api-k {KEY}",
        f"%chat_config --store x.db --api-key '{KEY}'",
    ],
)
def test_a_key_is_refused_and_not_repeated(shell: Shell, line: str) -> None:
    before = shell.run("%chat_config")
    said = shell.fail(line)
    assert said.startswith("UsageError: A key that is typed into a notebook is kept with it")
    assert KEY not in said
    assert shell.run("%chat_config") == before
    assert not Path("x.db").exists()


def test_a_key_is_not_repeated_where_the_line_is_wrong(shell: Shell) -> None:
    for line in (
        f"%chat_config --api-key '{KEY}",
        f"%chat_config --key {KEY}",
        f"%chat_config {KEY}",
        f"%chat_config --param api_key={KEY}",
        f"%chat_config --param {KEY}",
    ):
        assert KEY not in shell.fail(line), line


def test_a_password_in_the_url_of_a_server_is_refused_and_not_repeated(shell: Shell) -> None:
    shown = shell.fail(f"%chat_config --api-base-url https://someone:{KEY}@example.org/v1")
    assert KEY not in shown


def test_the_key_of_the_environment_is_in_no_output(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, chatgpt_server: ChatGPTServer
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    shown = shell.run("%chat_config --model gpt-4o")
    shown += shell.fail("%%chat\nhi")  # the server does not know it
    assert chatgpt_server.requests[-1].api_key == KEY
    assert "AuthenticationError: " in shown
    assert KEY not in shown + shell.run("%chat_config")


# --- a client of the notebook's own ----------------------------------------------------------


def test_a_client_of_the_notebook(
    shell: Shell, sync_client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    shell.ip.user_ns |= {"mine": sync_client, "_hidden": sync_client, "no_client": 3}
    assert shell.run("%chat_config --client mine") == "client: mine\n"
    assert shell.run("%%chat -n a -m gpt-4o -s Terse.\none") == first("one")
    assert model_asked(chatgpt_server) == "gpt-4o"
    assert "those that do: mine." in shell.fail("%chat_config --client no_client")
    assert shell.fail("%chat_config --model gpt-4o").startswith(
        "UsageError: --client brings its own"
    )
    shell.run("%chat_config --reset")
    shell.run("%chat_config --client mine")
    shell.run("%unload_ext chatgpt")
    sync_client.send_message("hi")
    assert len({each.client_port for each in chatgpt_server.requests}) == 1, "it was closed"


@pytest.mark.parametrize("kind", ["ChatGPTSessionAPI", "ChatGPTUnofficialProxyAPI"])
def test_a_client_of_the_web_flow(shell: Shell, chatgpt_server: ChatGPTServer, kind: str) -> None:
    options = {
        "ChatGPTSessionAPI": chatgpt_server.session_options,
        "ChatGPTUnofficialProxyAPI": chatgpt_server.proxy_options,
    }
    shell.run(f"from chatgpt import {kind}\nweb = {kind}(**{options[kind]!r})")
    shell.run("%chat_config --client web")
    assert shell.run("%%chat -n trip\none") == first("one")
    assert shell.run("%%chat -n trip\ntwo") == message("two", 2, "one")
    assert shell.fail("%%chat --model gpt-4o\nhi").startswith(
        "UsageError: --model and --system are for"
    )
    assert shell.fail("%chat_tree").startswith("UsageError: Only a ChatGPTAPI")
    shell.run("web.close()")


# --- a store ---------------------------------------------------------------------------------


def test_conversations_outlive_the_shell(
    shells: list[Shell], shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "store: kept.db" in shell.run("%chat_config --store kept.db")
    shell.run("%%chat -n trip\none")
    shell.run("%%chat\nwithout a name")
    shell.close()
    shells.clear()
    shells.append(again := Shell(capsys))
    again.run("%chat_config --store kept.db")
    assert again.run("%%chat -c\nmore") == message("more", 2, "without a name")
    assert again.run("%%chat -n trip -c\ntwo") == message("two", 2, "one")
    assert again.complete("%chat_tree t") == ["trip"]
    assert shell_tree(again, "trip").messages[0].text == "one"
    again.run("%chat_config --store ''")
    assert again.fail("%%chat -n trip -c\nthree").startswith("UsageError: There is no conversation")


def test_the_store_has_the_last_word(shell: Shell) -> None:
    shell.run("%chat_config --store kept.db")
    shell.run("%%chat -n trip\none")
    script = (
        "from chatgpt import ChatGPTAPI, SQLiteStore\n"
        "with SQLiteStore('kept.db') as store, ChatGPTAPI(message_store=store) as client:\n"
        "    kept, = store.conversations()\n"
        "    {}\n"
    )
    goes_on = "client.send_message('two', conversation_id=kept.id, parent_message_id=kept.last_message_id)"
    subprocess.run([sys.executable, "-c", script.format(goes_on)], check=True)
    assert shell.run("%%chat -n trip\nthree") == message("three", 3, "one")
    deletes = "store.delete_conversation(kept.id)"
    subprocess.run([sys.executable, "-c", script.format(deletes)], check=True)
    assert shell.fail("%%chat -c\nfour").startswith("UsageError: There is no conversation")
    assert shell.run("%%chat -n trip\nanew") == first("anew")
    with SQLiteStore("kept.db") as store:
        assert [each.name for each in store.conversations()] == ["trip"]


# --- coming and going, help, completion ------------------------------------------------------


def test_the_magics_go_and_come_back(shell: Shell) -> None:
    shell.run("%%chat\none")
    shell.run("%reload_ext chatgpt")
    assert shell.fail("%%chat -c\ntwo") == "UsageError: There is no conversation to continue."
    shell.run("%unload_ext chatgpt")
    for cell in ("%%chat\nhi", "%chat_config", "%chat_tree"):
        assert "not found" in shell.fail(cell)
    assert shell.complete("%%chat --na") == []
    shell.run("%load_ext chatgpt")
    assert shell.run("%%chat\none") == first("one")
    assert shell.complete("%%chat --na") == ["--name"]


def test_help_lists_every_option(shell: Shell) -> None:
    shown = shell.run("%%chat?")
    for option in ("--name", "--continue", "--model", "--system", "--result"):
        assert option in shown
    shown = shell.run("%chat_config?")
    for option in ("--param", "--api-base-url", "--timeout", "--store", "--client", "--reset"):
        assert option in shown


def test_completion(shell: Shell, sync_client: ChatGPTAPI) -> None:
    shell.ip.user_ns |= {"mine": sync_client, "number": 3}
    Path("kept.db").touch()
    Path("folder").mkdir()
    Path("folder/other.db").touch()
    shell.run("%%chat -n trip\none")
    options = {"--name", "--continue", "--model", "--system", "--result"}
    assert set(shell.complete("%%chat --")) == options
    assert "--store" in shell.complete("%chat_config --st")
    models = shell.complete("%%chat --model gpt-5.4")
    assert "gpt-5.4-mini" in models
    assert all(each.startswith("gpt-5.4") for each in models)
    assert shell.complete("%%chat -m gpt-5.4-m") == shell.complete("%chat_config -m gpt-5.4-m")
    assert shell.complete("%%chat --name ") == ["trip"]
    assert shell.complete("%%chat --system x --name t") == ["trip"]
    assert shell.complete("%chat_tree ") == ["trip"]
    assert shell.complete("%chat_config --client ") == ["mine"]
    assert shell.complete("%chat_config --store k") == ["kept.db"]
    assert shell.complete("%chat_config --store folder/") == ["folder/other.db"]
    assert "--name" not in shell.complete("%%chat\n--"), "the message is no option"
    assert "chat_config" in " ".join(shell.complete("%chat_c"))
    assert "number" in shell.complete("numb")
