"""Ask about every line of a file, many at once, and go on where a run was stopped.

The input is a file of lines, each a question, or, if its name ends in `.jsonl`, of JSON objects with a
`"question"` each; other fields of theirs are kept, but those that the output has itself. The output is JSON Lines, in
the order in which the answers came, each with the number of its question (blank lines do not count):

    {"number": 1, "question": "Name a river.", "answer": "The Elbe.", "finish_reason": "stop", "tokens": 25}
    {"number": 3, "question": "...", "error": "ContentFilterError", "message": "..."}

A run that was stopped (Ctrl-C, kill, a crash) goes on when it is started again: what the output holds is not asked
a second time. What fails is written as such, and the run goes on; what would fail for every line (a wrong key, a
used-up quota, an unknown model, no network, a full disk) ends it. The lines that failed, as they are, may be the input
of another run.

How to run it, with the server that comes with the package:

    python -m chatgpt.testing --port 8080 &     # `pip install 'chatgpt-sdk[async]' tqdm`
    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=sk-test python batch.py questions.txt answers.jsonl

With OpenAI:

    OPENAI_API_KEY=sk-... python batch.py questions.txt answers.jsonl --at-once 16 --system "One sentence."
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ChatGPTError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
)
from chatgpt_async import ChatGPTAPI, MemoryStore

RUN_ENDING_ERRORS = (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
)
"""What every further line would meet, too."""

OWN_FIELDS = {"number", "answer", "finish_reason", "tokens", "error", "message"}
"""What a line of the output has beside what its line of the input had."""

BEGINNING = b'{"number": '
"""So does each line of the output begin."""


class Done:
    """The numbers that are done: all up to one, and a few beyond it, since answers come almost in order."""

    def __init__(self) -> None:
        self._all_up_to = 0
        self._beyond: set[int] = set()
        self.count = 0

    def add(self, number: int) -> None:
        """Note that a question is done."""
        self.count += 1
        self._beyond.add(number)
        while self._all_up_to + 1 in self._beyond:
            self._all_up_to += 1
            self._beyond.remove(self._all_up_to)

    def __contains__(self, number: int) -> bool:
        return number <= self._all_up_to or number in self._beyond


def done_before(output: BinaryIO) -> Done:
    """Read what the output of earlier runs holds; half a line at its end, of a crash, is cut off.

    Raises:
        ValueError: it is no output of this script; nothing was changed.
    """
    done = Done()
    end = 0
    for place, record in enumerate(output, start=1):
        if whole := re.match(rb'{"number": ?(\d+)[,}].*\n', record):
            done.add(int(whole[1]))
            end += len(record)
        elif record.endswith(b"\n") or not record.startswith(BEGINNING[: len(record)]):
            raise ValueError(f"{output.name}, line {place}, is no output of this script.")
    output.seek(end)
    output.truncate()
    return done


def lines_of(source: Path) -> Iterator[tuple[int, str]]:
    """Go through the lines of a file that are not blank, and number them from 1."""
    try:
        with source.open(encoding="utf-8-sig") as lines:
            yield from enumerate((line.strip() for line in lines if line.strip()), start=1)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"{source} is not UTF-8: it has a byte {byte:#04x}.") from None


def asked_in(line: str, *, is_json: bool) -> dict[str, object]:
    """What a line asks, and its other fields.

    Raises:
        ValueError, TypeError, RecursionError: it asks nothing.
    """
    if not is_json:
        return {"question": line}
    fields = json.loads(line)
    json.dumps(fields, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    if not isinstance(fields, dict) or not isinstance(fields.get("question"), str):
        raise TypeError('The line is no JSON object with a "question" that is text.')
    return {name: value for name, value in fields.items() if name not in OWN_FIELDS}


async def answered(client: ChatGPTAPI, line: str, *, is_json: bool) -> dict[str, object]:
    """Ask what a line asks, and return what is written of it, be it a failure.

    Raises:
        ChatGPTError: the other lines would fail, too.
    """
    record: dict[str, object] = {"line": line}  # as long as nobody knows what it asks
    try:
        record = asked_in(line, is_json=is_json)
        reply = await client.send_message(str(record["question"]))
    except (ChatGPTError, ValueError, TypeError, RecursionError) as error:
        if concerns_all(error):
            raise
        return {**record, "error": type(error).__name__, "message": str(error)}
    return {
        **record,
        "answer": reply.text,
        "finish_reason": reply.finish_reason,
        "tokens": reply.usage and reply.usage.total_tokens,
    }


def concerns_all(error: Exception) -> bool:
    """Whether an error is no matter of one line: the set-up is wrong, or the server cannot be reached."""
    if isinstance(error, APITimeoutError):
        return error.limit == "connect"
    return isinstance(error, (*RUN_ENDING_ERRORS, APIConnectionError))


async def run(
    source: Path,
    output: BinaryIO,
    done: Done,
    *,
    total: int,
    at_once: int,
    max_retries: int,
    instructions: str | None,
) -> int:
    """Ask all questions that are not done yet; returns how many of them failed."""
    failures = 0
    # One iterator for all tasks: each takes its next line when it has written the one before. So no more than
    # `at_once` lines are in memory, however long the file is.
    todo = ((number, line) for number, line in lines_of(source) if number not in done)

    async def work() -> None:
        nonlocal failures
        for number, line in todo:
            record = await answered(client, line, is_json=source.suffix == ".jsonl")
            text = json.dumps({"number": number, **record}, ensure_ascii=False)
            output.write(text.encode(errors="replace") + b"\n")  # an answer may have such halves
            output.flush()  # a kill from here on loses nothing; `os.fsync` would outlive a power cut, too
            failures += "error" in record
            bar.update()

    async with ChatGPTAPI(  # one client for all of them: it keeps the connections
        system_message=instructions,
        message_store=MemoryStore(capacity=2),  # no question replies to another one
        max_retries=max_retries,  # rate limits are part of such a run, and waited for
    ) as client:
        with tqdm(total=total, initial=done.count, unit="line", disable=None) as bar:
            async with asyncio.TaskGroup() as tasks:  # if one raises, the others are cancelled
                for _ in range(at_once):
                    tasks.create_task(work())
    return failures


def main() -> None:
    """Read the options, ask, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="lines, or JSON Lines if it ends in .jsonl")
    parser.add_argument("output", type=Path, help="JSON Lines; what it holds is not asked again")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--retries", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--system", metavar="WORDS", help="the instructions, for every line")
    options = parser.parse_args()

    if options.at_once < 1 or options.retries < 0:
        parser.error("--at-once is at least 1, and --retries at least 0")

    is_begun = False
    try:
        total = sum(1 for _ in lines_of(options.source))
        options.output.touch()
        if options.source.samefile(options.output):
            parser.error("the answers would overwrite the questions: name another file")
        with options.output.open("r+b") as output:
            done = done_before(output)
            is_begun = True
            asking = run(
                options.source,
                output,
                done,
                total=total,
                at_once=options.at_once,
                max_retries=options.retries,
                instructions=options.system,
            )
            failures = asyncio.run(asking)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    except (ChatGPTError, OSError, ValueError, ExceptionGroup) as raised:
        # A `TaskGroup` raises a group.
        error = raised.exceptions[0] if isinstance(raised, ExceptionGroup) else raised
        if not isinstance(error, (ChatGPTError, OSError, ValueError)):
            raise
        what_now = "\nWhen that is mended, the same command goes on from here." if is_begun else ""
        sys.exit(f"{type(error).__name__}: {error}{what_now}")
    print(f"Done. Of the lines asked now, {failures} failed.", file=sys.stderr)


if __name__ == "__main__":
    main()
