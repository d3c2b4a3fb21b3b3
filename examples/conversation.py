"""A conversation that is kept in a file, and goes on where it stopped the last time.

Each line of standard input is a question; its answer is shown as it is written. Beside that:

    /again          another answer to the last question, beside the one before
    /edit WORDS     another question in the place of the last one
    /undo           goes back to before the last question

All three make branches: nothing is overwritten, and the next run goes on from where the last one stood (an
`/undo` to the very beginning is not noted).

How to run it, with the server that comes with the package:

    python -m chatgpt.testing --port 8080 &     # `pip install chatgpt-sdk`
    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=sk-test python conversation.py

With OpenAI:

    OPENAI_API_KEY=sk-... python conversation.py --name trip
"""

from __future__ import annotations

import argparse
import sys

from chatgpt import ChatGPTAPI, ChatGPTError, ChatMessage, Conversation, SQLiteStore

PROMPT = "> " if sys.stdin.isatty() else ""


def open_conversation(client: ChatGPTAPI, store: SQLiteStore, name: str) -> Conversation:
    """Go on with the conversation of a name, or begin one."""
    found = [each for each in store.find_conversations(name) if each.name == name]
    if not found:
        return client.conversation()
    print(f"# {found[0].message_count} messages so far; it began with: {found[0].title}")
    # With its id, what follows an `/undo` to the very beginning is a branch of it, too.
    return client.conversation(
        conversation_id=found[0].id, parent_message_id=found[0].last_message_id
    )


def show(part: ChatMessage) -> None:
    """Write what is new of an answer."""
    print(part.delta or "", end="", flush=True)


def answer(chat: Conversation, line: str) -> None:
    """Do what a line says, and show the answer as it grows."""
    command, _, words = line.partition(" ")
    if command == "/undo":
        question = chat.undo()
        print(f"# back to before: {question.text}" if question else "# at the beginning")
    elif command == "/again":
        chat.regenerate(on_progress=show)
    elif command == "/edit":
        if chat.parent_message_id is None:
            raise ValueError("There is no question yet.")
        chat.edit(chat.parent_message_id, words, on_progress=show)
    elif command.startswith("/"):
        raise ValueError(f"There is no {command}, only /again, /edit and /undo.")
    else:
        with chat.stream(line) as stream:  # left early, it closes its connection
            for part in stream:
                show(part)
    print()


def talk(client: ChatGPTAPI, store: SQLiteStore, name: str) -> None:
    """Answer line by line, until there are no more."""
    chat = open_conversation(client, store, name)
    while True:
        try:
            line = input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            break
        try:
            if line:
                answer(chat, line)
        except KeyboardInterrupt:
            print("\n# stopped; nothing of this answer is kept")
        except (ChatGPTError, ValueError) as error:  # the conversation stands where it stood
            print(f"\n# {type(error).__name__}: {error}", file=sys.stderr)
        if chat.conversation_id and chat.parent_message_id:
            store.use_conversation(chat.conversation_id, chat.parent_message_id)
            store.name_conversation(chat.conversation_id, name)

    if chat.parent_message_id:
        print("\n# The whole conversation, with all its branches:")
        print(chat.tree())


def main() -> None:
    """Read the options, and talk."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--file", default="conversations.db", help="default: %(default)s")
    parser.add_argument("--name", default="example", help="which conversation of the file")
    options = parser.parse_args()
    try:
        with (
            SQLiteStore(options.file) as store,
            ChatGPTAPI(message_store=store) as client,  # the key comes from the environment
        ):
            talk(client, store, options.name)
    except (ChatGPTError, ValueError) as error:  # no key, no such folder, no name
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
