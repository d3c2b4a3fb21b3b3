"""Which command a command line is, and what `chatgpt --help` shows.

Rules:

1. A first word that is a command is that command; any other line is a prompt, `chatgpt ask`. `chatgpt ask ...` and
   `chatgpt -- ...` are a prompt, whatever its words.
2. A prompt that is the name of a command alone, behind options, is an error, not a request that costs money.
3. Whatever ends a command ends the process with an exit code of `exit_codes`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from chatgpt.cli.client_options import DEBUG
from chatgpt.cli.exit_codes import INTERRUPTED, leave_quietly, report_error, say
from chatgpt.cli.terminal import is_person_typing

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROMPT: Final = "ask"
"""The command that a line is whose first word is none."""

_OWN_OPTIONS: Final = ("--help", "-h", "--version")


class RootCommand(click.Group):
    """`chatgpt`: a prompt, or a command."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the line; help may be written to a pipe that nobody reads any more."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError:
            raise click.exceptions.Exit(leave_quietly()) from None
        except OSError as error:  # a full disk
            raise click.exceptions.Exit(report_error(error, is_debugging=False)) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `ask` before a line that begins with no command."""
        if not args and is_person_typing() and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(2)
        is_known = bool(args) and (args[0] in self.commands or args[0] in _OWN_OPTIONS)
        if not is_known and not (ctx.resilient_parsing and not args):
            args = [PROMPT, *args]
            ctx.meta[PROMPT] = "--" not in args
        return super().parse_args(ctx, args)

    def check_words(self, ctx: click.Context, words: Sequence[str]) -> None:
        """Check that a prompt is not a command that stands behind its options, and ask a person about what looks like one.

        Raises:
            click.UsageError: it is a command.
        """
        if not ctx.meta.get(PROMPT) or not words:
            return
        if words[0] in self.commands:
            raise click.UsageError(
                f"{words[0]!r} is a command: give it first. If it is your prompt, say so: "
                f"chatgpt {PROMPT} ... {words[0]}"
            )
        if len(words) == 1 and words[0].isalpha() and is_person_typing():
            from difflib import get_close_matches

            for meant in get_close_matches(words[0], self.commands, n=1, cutoff=0.75):
                say(f"{words[0]!r} is asked as a prompt; did you mean chatgpt {meant}?")

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; what ends it becomes an exit code."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            # It may be a prompt that begins with a command.
            raise click.UsageError(f"{error.message} As a prompt: chatgpt {PROMPT} ...") from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            ctx.exit(leave_quietly())
        except Exception as error:  # noqa: BLE001 - the last one to hear of it
            ctx.exit(report_error(error, is_debugging=ctx.meta.get(DEBUG, False)))

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both forms of a line."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] PROMPT...")
        formatter.write_usage(ctx.command_path, "COMMAND ...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of a prompt, and the commands."""
        ask = self.commands[PROMPT]
        options = [
            each for each in (*ask.params, *self.get_params(ctx)) if isinstance(each, click.Option)
        ]
        records = [record for each in options if (record := each.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(records)
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command, or an option of a prompt."""
        completed = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            completed += self.commands[PROMPT].shell_complete(ctx, incomplete)
        return completed
