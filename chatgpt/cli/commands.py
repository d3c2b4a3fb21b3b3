"""The commands, their options and their help. What they do stands in modules that are loaded when they are called."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn, Unpack

import click

from chatgpt import __version__
from chatgpt.cli.client_options import (
    ClientOptions,
    TalkOptions,
    client_options,
    complete_conversation,
    conversation_argument,
    debug_option,
    json_lines_option,
    limit_option,
    raw_option,
    sure_option,
    talk_options,
)
from chatgpt.cli.exit_codes import INTERRUPTED, SIGNALLED, report_error, say_warnings
from chatgpt.cli.root_command import RootCommand
from chatgpt.cli.terminal import prepare_streams, show_cursor_when_stopped

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.group(
    cls=RootCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="chatgpt ask list: the word list as a prompt. chatgpt COMMAND --help says more.",
)
@click.version_option(__version__, message="chatgpt-sdk %(version)s")
def root() -> None:
    """Ask ChatGPT, and talk with it.

    The answer appears as it is written, as Markdown on a terminal. Text that is piped in joins the prompt:
    cat f.py | chatgpt "explain". Conversations are kept; -c goes on with the one last used.
    """


@root.command("ask", short_help="Ask one question; what a line without a command does.")
@click.argument("words", nargs=-1, metavar="PROMPT...")
@click.option(
    "-s",
    "--stream/--no-stream",
    "is_streamed",
    default=None,
    help="Show the answer as it is written.  [default: stream, but not with --json]",
)
@raw_option
@click.option("--json", "is_json", is_flag=True, help="Print a JSON object; with -s, JSON Lines.")
@talk_options
@click.pass_context
def ask(
    context: click.Context,
    /,
    words: Sequence[str],
    *,
    is_streamed: bool | None,
    is_raw: bool,
    is_json: bool,
    **options: Unpack[TalkOptions],
) -> None:
    """Ask one question and print the answer.

    Text on standard input joins the prompt. A pipe that some program left open, and to which nothing is written for
    5 seconds, is left alone; with - as a word of the prompt, or without a prompt, it is waited for.
    """
    root.check_words(context, words)
    from chatgpt.cli.asking import ask

    ask(words, is_streamed=is_streamed, is_raw=is_raw, is_json=is_json, **options)


@root.command()
@raw_option
@talk_options
def chat(*, is_raw: bool, **options: Unpack[TalkOptions]) -> None:
    """Talk line by line; /help lists what else can be done.

    Ctrl-C stops an answer, Ctrl-D leaves.
    """
    from chatgpt.cli.chat import chat

    chat(is_raw=is_raw, **options)


@root.command("list")
@limit_option
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@json_lines_option
@debug_option
def list_(limit: int, *, is_all: bool, is_json: bool) -> None:
    """List the conversations, the last used first."""
    from chatgpt.cli.conversations import list_conversations

    list_conversations(None if is_all else limit, is_json=is_json)


@root.command()
@conversation_argument
@click.option("--tree", "is_tree", is_flag=True, help="All its branches, as a tree.")
@raw_option
@json_lines_option
@debug_option
def show(conversation: str | None, *, is_tree: bool, is_raw: bool, is_json: bool) -> None:
    """Show a conversation: by its name or the beginning of its id.

    By default the one last used, as the line of messages that leads to where it stands; with --tree, all of them.
    """
    from chatgpt.cli.conversations import show_conversation

    show_conversation(conversation, is_tree=is_tree, is_raw=is_raw, is_json=is_json)


@root.command()
@click.argument("query", nargs=-1, required=True, metavar="WORDS...")
@limit_option
@json_lines_option
@debug_option
def search(query: Sequence[str], limit: int, *, is_json: bool) -> None:
    """Find the messages that say all these words."""
    from chatgpt.cli.conversations import search_messages

    search_messages(" ".join(query), limit, is_json=is_json)


@root.command()
@conversation_argument
@click.option(
    "-f", "--file", type=_FILE, metavar="FILE", help="Where to; by default standard output."
)
@click.option(
    "--format",
    "chosen_format",
    type=click.Choice(["jsonl", "markdown", "html"]),
    help="By default what the name of FILE ends with; markdown for standard output.",
)
@click.option("--all", "is_all", is_flag=True, help="All conversations.")
@debug_option
def export(
    conversation: str | None,
    *,
    file: Path | None,
    chosen_format: Literal["jsonl", "markdown", "html"] | None,
    is_all: bool,
) -> None:
    """Write a conversation into a file, with all its branches.

    JSON Lines can be imported again; names, and where conversations stand, are not in them.
    """
    from chatgpt.cli.archives import export_conversations

    export_conversations(conversation, file=file, chosen_format=chosen_format, is_all=is_all)


@root.command("import", short_help="Read conversations from a file.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, allow_dash=True))
@debug_option
def import_(file: Path) -> None:
    """Read conversations from a file.

    FILE is JSON Lines of `chatgpt export` (.jsonl, or - for standard input), or ChatGPT's own data export: the zip,
    the folder, or the conversations.json in it.
    """
    from chatgpt.cli.archives import import_conversations

    import_conversations(file)


@root.command()
@click.argument("conversation", shell_complete=complete_conversation)
@click.argument("name")
@debug_option
def rename(conversation: str, name: str) -> None:
    """Give a conversation a name; '' takes it away."""
    from chatgpt.cli.conversations import rename_conversation

    rename_conversation(conversation, name)


@root.command()
@click.argument(
    "conversations",
    nargs=-1,
    required=True,
    metavar="CONVERSATION...",
    shell_complete=complete_conversation,
)
@sure_option
@debug_option
def rm(conversations: Sequence[str], *, is_sure: bool) -> None:
    """Delete conversations, for good."""
    from chatgpt.cli.conversations import delete_conversations

    delete_conversations(conversations, is_sure=is_sure)


@root.command("ls-cache", short_help="Print where the conversations are kept.")
@debug_option
def ls_cache() -> None:
    """Print where the conversations are kept.

    The environment variable CHATGPT_STORE names another file.
    """
    from chatgpt.cli.conversations import print_store_file

    print_store_file()


@root.command("rm-cache")
@sure_option
@debug_option
def rm_cache(*, is_sure: bool) -> None:
    """Delete all conversations, for good."""
    from chatgpt.cli.conversations import delete_all

    delete_all(is_sure=is_sure)


@root.command()
@debug_option
def demo() -> None:
    """Talk with the embedded server: no key, no network."""
    from chatgpt.cli.demo import demo

    demo()


@root.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Where it listens.  [default: a free port]",
)
@click.option("--any-key", "is_any_key", is_flag=True, help="Accept any key, or none.")
@click.option(
    "--reply",
    "replies",
    multiple=True,
    metavar="TEXT",
    help="A reply; may be repeated: they are given in order. By default an echo.",
)
@debug_option
def serve(*, port: int, is_any_key: bool, replies: Sequence[str]) -> None:
    """Run the embedded server, for other programs.

    The first line printed is the base URL.
    """
    from chatgpt.cli.serve import serve

    serve(port=port, is_any_key=is_any_key, replies=replies)


@root.command(short_help="Check versions, route, key, a round trip, the store.")
@click.option("--offline", "is_offline", is_flag=True, help="Send nothing.")
@client_options
def doctor(*, is_offline: bool, **options: Unpack[ClientOptions]) -> None:
    """Check versions, route, key, a round trip (which costs some 30 tokens) and the store.

    The exit code says whether all is well.
    """
    from chatgpt.cli.doctor import examine

    examine(is_offline=is_offline, **options)


@root.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="[bash|zsh|fish]")
@debug_option
def completion(shell: str) -> None:
    """Print a completion script.

    \b
    bash: eval "$(chatgpt completion bash)"          in ~/.bashrc
    zsh:  eval "$(chatgpt completion zsh)"           in ~/.zshrc
    fish: chatgpt completion fish | source           in ~/.config/fish/config.fish
    """  # noqa: D301 - click's mark of lines that stay as they are
    from chatgpt.cli.completion import print_script

    print_script(root, shell)


@root.command("help")
@click.argument(
    "command",
    required=False,
    metavar="[COMMAND]",
    shell_complete=lambda _context, _parameter, beginning: [
        name for name in root.commands if name.startswith(beginning)
    ],
)
@click.pass_context
def help_(context: click.Context, /, command: str | None) -> None:
    """Show help, as --help does."""
    parent = context.parent
    assert parent is not None, "of the root"
    if command is None:
        click.echo(parent.get_help())
        return
    chosen = root.get_command(parent, command)
    if chosen is None:
        raise click.UsageError(f"There is no command {command!r}.")
    click.echo(click.Context(chosen, parent, command).get_help())


def run() -> NoReturn:
    """Run the command that the arguments of the process say."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, _terminate)
    prepare_streams()
    show_cursor_when_stopped()
    say_warnings()
    try:
        sys.exit(root.main(prog_name="chatgpt", standalone_mode=False))
    except click.ClickException as error:
        sys.exit(report_error(error, is_debugging=False))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(SIGNALLED + number)  # what is open is closed on the way, and the cursor is shown again
