"""`%chat_config`, `%%chat` and `%chat_tree`.

Rules:

1. An error is one line, as the command's is; `%debug` has the rest. It is an error of the cell, so that what follows
   is not run as if there were an answer.
2. Settings that are wrong change nothing.
"""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final

from attrs import asdict, evolve
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import MagicArgumentParser

from chatgpt.client import ChatGPTAPI
from chatgpt.core.errors import ChatGPTError
from chatgpt.core.trees import ConversationTree
from chatgpt.notebook import show
from chatgpt.notebook.settings import Backend, ChatSettings
from chatgpt.notebook.talks import Talks
from chatgpt.stores.memory import MemoryStore

NOT_A_PLACE_FOR_KEYS: Final = (
    "A key that is typed into a notebook is kept with it: set OPENAI_API_KEY before Jupyter starts, or make a client in "
    "Python and name its variable with --client."
)


def _config_parser() -> MagicArgumentParser:
    parser = MagicArgumentParser(
        prog="chat_config",
        description="Show how %%chat is answered, or change it. Each option stays until it is given again.",
    )
    parser.add_argument("-m", "--model", help="The model that is asked.")
    parser.add_argument("-s", "--system", help="The instructions; '' for none.")
    parser.add_argument(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        help="A further field of each request, such as temperature=0.2; NAME= takes it back. May be given several times.",
    )
    parser.add_argument("--api-base-url", metavar="URL", help="The server.")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="The limit of a call.")
    parser.add_argument(
        "--store", metavar="FILE", help="Where conversations are kept; '' for the memory."
    )
    parser.add_argument(
        "--client",
        metavar="VARIABLE",
        help="A client that the notebook has made, in place of all these settings.",
    )
    parser.add_argument("--reset", action="store_true", help="Forget what was set before.")
    parser.add_argument("--api-key", help="Refused: keys do not belong into a notebook.")
    return parser


def _chat_parser() -> MagicArgumentParser:
    parser = MagicArgumentParser(
        prog="%chat", description="Send the cell as a message, and show the reply as it grows."
    )
    parser.add_argument(
        "-n", "--name", help="Begin the conversation of that name, or go on with it."
    )
    parser.add_argument(
        "-c",
        "--continue",
        dest="is_continued",
        action="store_true",
        help="Go on with the last conversation; with --name, with that one, which must be there.",
    )
    parser.add_argument("-m", "--model", help="The model of this conversation.")
    parser.add_argument(
        "-s", "--system", help="The instructions of this conversation; '' for none."
    )
    parser.add_argument(
        "-r", "--result", metavar="VARIABLE", help="The variable that holds the reply then."
    )
    return parser


CONFIG: Final = _config_parser()
CHAT: Final = _chat_parser()


@magics_class
class ChatMagics(Magics):
    """The magics of `%load_ext chatgpt`.

    Args:
        shell: the notebook's.

    Attributes:
        matcher: what completes them; set once they are loaded.
    """

    shell: InteractiveShell
    matcher: Callable[..., object] | None = None

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._settings = ChatSettings()
        self._backend: Backend | None = None
        self._memory = MemoryStore()
        self._talks = Talks()
        self._talks_by_place: dict[tuple[Path | None, str | None], Talks] = {}

    @line_magic
    def chat_config(self, line: str) -> None:
        """Show how `%%chat` is answered, or change it."""
        given = _options(CONFIG, line)
        if given.api_key is not None:
            raise UsageError(NOT_A_PLACE_FOR_KEYS)
        with _errors_in_one_line():
            settings = _changed(ChatSettings() if given.reset else self._settings, given)
            if settings != self._settings or given.reset or self._backend is None:
                self._use(settings)
        print(self._described())  # noqa: T201 - that is what it is for

    @cell_magic
    def chat(self, line: str, cell: str) -> None:
        """Send the cell as a message, and show the reply as it grows."""
        given = _options(CHAT, line)
        if given.result is not None and not _is_name(given.result):
            raise UsageError(f"--result takes the name of a variable, not {given.result!r}.")
        text = cell.removesuffix("\n")
        if not text.strip():
            raise UsageError("There is no message: write it below %%chat, in the same cell.")
        with _errors_in_one_line():
            backend = self._opened()
            talk = self._talks.find(given.name, is_continued=given.is_continued)
            talk = evolve(
                talk,
                model=talk.model if given.model is None else given.model,
                system=talk.system if given.system is None else given.system,
            )
            stream = backend.stream(
                text,
                conversation_id=talk.conversation_id,
                parent_message_id=talk.parent_message_id,
                model=talk.model,
                system=talk.system,
            )
            show(stream)
            reply = stream.result()
            if given.result is not None:
                self.shell.user_ns[given.result] = reply
            self._talks.went_on(talk, reply)

    @line_magic
    def chat_tree(self, line: str) -> ConversationTree:
        """Show a conversation as a tree with its branches: the last one, or the one that is named."""
        name = line.strip() or None
        with _errors_in_one_line():
            client = self._opened().client
            talk = self._talks.find(name, is_continued=True)
            if not isinstance(client, ChatGPTAPI):
                raise UsageError("Only a ChatGPTAPI has its conversations here.")
            return client.conversation(
                conversation_id=talk.conversation_id, parent_message_id=talk.parent_message_id
            ).tree()

    # What IPython shows for `%chat_config?` and `%%chat?`.
    chat_config.__doc__ = f"{chat_config.__doc__}\n\n{CONFIG.format_help()}"
    chat.__doc__ = f"{chat.__doc__}\n\n{CHAT.format_help()}"

    def names(self) -> list[str]:
        """The names of the conversations that are known; none where the store fails."""
        try:
            return self._talks.names()
        except ChatGPTError:
            return []

    def close(self) -> None:
        """Close the client."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _opened(self) -> Backend:
        if self._backend is None:
            self._use(self._settings)
        assert self._backend is not None
        return self._backend

    def _use(self, settings: ChatSettings) -> None:
        backend = Backend(settings, self.shell.user_ns, self._memory)
        self.close()
        self._settings, self._backend = settings, backend
        # What was said in a file, or to a client, is known there alone.
        place = settings.store, settings.client
        self._talks = self._talks_by_place.setdefault(place, Talks())
        self._talks.store = backend.store

    def _described(self) -> str:
        """The settings, a line for each."""
        if self._settings.client is not None:
            return f"client: {self._settings.client}"
        client = self._opened().client
        shown = {
            name: value for name, value in asdict(self._settings).items() if value not in (None, {})
        }
        if isinstance(client, ChatGPTAPI):
            shown = {"model": client.model, "server": client.route().url, **shown}
        return "\n".join(f"{name}: {value}" for name, value in shown.items())


def _options(parser: MagicArgumentParser, line: str) -> Namespace:
    """What a line gives. What it holds beside that is not repeated: it may be a key."""
    given, rest = parser.parse_known_args(_words(line))
    if rest:
        unknown = [word.partition("=")[0] for word in rest if word.startswith("--")]
        raise UsageError(
            f"unrecognized arguments: {' '.join(unknown) or 'there is a word too many'}"
        )
    return given


def _is_name(text: str) -> bool:
    return text.isidentifier() and not iskeyword(text)


def _words(line: str) -> list[str]:
    """The words of a line, in which quotation marks hold together what belongs together."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""  # a backslash is a part of a file's name
    try:
        return list(lexer)
    except ValueError:
        raise UsageError("A quotation mark is missing.") from None


def _changed(settings: ChatSettings, given: Namespace) -> ChatSettings:
    """The settings with what a line gives."""
    changes: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("model", "system", "api_base_url", "timeout", "client")
        if getattr(given, name) is not None
    }
    if given.store is not None:
        changes["store"] = Path(given.store).expanduser() if given.store else None
    params = dict(settings.params)
    for each in given.param or ():
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise UsageError("--param takes NAME=VALUE, such as temperature=0.2.")
        if name.strip().lower() in ("api_key", "api-key", "authorization") or value.startswith(
            "sk-"
        ):
            raise UsageError(NOT_A_PLACE_FOR_KEYS)
        if value:
            params[name.strip()] = _value_of(value)
        else:
            params.pop(name.strip(), None)
    return evolve(settings, params=params, **changes)


def _value_of(text: str) -> object:
    """JSON where it is some, else the text."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except (ChatGPTError, ValueError, TypeError, KeyboardInterrupt) as error:
        name = type(error).__name__
        said = str(error) or "the answer was stopped, and nothing of it is kept"
        _shown_as(error, f"{name}: {said}")
        raise


def _shown_as(error: BaseException, line: str) -> None:
    """Let IPython show one line in place of a traceback."""
    render: Callable[[], list[str]] = lambda: [line]  # noqa: E731 - IPython asks the exception itself
    error._render_traceback_ = render  # type: ignore[attr-defined] # the protocol of IPython
