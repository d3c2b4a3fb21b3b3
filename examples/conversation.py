"""A threaded, streamed conversation, printed as a person would see it.

With OPENAI_API_KEY or OPENAI_BASE_URL set it is held with the real thing, otherwise (and with
`--embedded`) with the server that comes with the package.
"""

import os
import sys
from contextlib import ExitStack

from chatgpt import ChatGPTAPI
from chatgpt.testing import ChatGPTServer, Fault

QUESTIONS = [
    "My name is Ada, and I like short answers.",
    "What is a monad? Grüße aus 東京 👋",
    "And what was the first thing that I told you?",
]


def main() -> None:
    """Hold the conversation."""
    with ExitStack() as stack:
        is_real = "OPENAI_API_KEY" in os.environ or "OPENAI_BASE_URL" in os.environ
        if is_real and "--embedded" not in sys.argv:
            client = stack.enter_context(ChatGPTAPI())
        else:
            server = stack.enter_context(ChatGPTServer())
            # As in life, a word takes a moment.
            server.inject(*[Fault(part_delay=0.04)] * len(QUESTIONS))
            client = stack.enter_context(
                ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url)
            )
            print(f"The embedded server listens at {server.base_url}\n")

        parent_id = None
        for question in QUESTIONS:
            print(f"You:     {question}\nChatGPT: ", end="")
            with client.stream_message(question, parent_message_id=parent_id) as stream:
                for part in stream:
                    print(part.delta, end="", flush=True)
            reply = stream.result()
            parent_id = reply.id
            assert reply.usage is not None
            print(
                f"\n         [{reply.model}, {reply.usage.total_tokens} tokens, {reply.finish_reason}]\n"
            )

        print("The thread, from the store:")
        for message in client.thread(parent_id or ""):
            print(f"  {message.role:>9}: {message.text}")


if __name__ == "__main__":
    main()
