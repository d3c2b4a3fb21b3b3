"""`python -m chatgpt.testing`: run the loopback server until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import threading

from chatgpt.testing.server import DEFAULT_API_KEY, ChatGPTServer


def main() -> None:
    """Serve until interrupted or terminated; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(
        prog="python -m chatgpt.testing",
        description="Run a server on the loopback interface that speaks OpenAI's protocol and echoes.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="where it listens (default: a free port)"
    )
    parser.add_argument(
        "--api-key", default=DEFAULT_API_KEY, help="the key it accepts (default: %(default)s)"
    )
    parser.add_argument("--any-key", action="store_true", help="accept any key, or none")
    parser.add_argument(
        "--reply",
        action="append",
        help="a reply; may be repeated: they are given in order, then the server answers 500 (default: an echo)",
    )
    arguments = parser.parse_args()

    api_key = None if arguments.any_key else arguments.api_key
    try:
        server = ChatGPTServer(arguments.reply, api_key=api_key, port=arguments.port)
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on port {arguments.port}: {error}")

    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with server:
        print(server.base_url, flush=True)
        try:
            done.wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
