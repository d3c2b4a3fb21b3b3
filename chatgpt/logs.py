"""What `debug=True` does: the SDK's log on standard error.

The log is that of the logger `chatgpt`: each need of an exchange at level DEBUG, without secrets
and without the text of a conversation.
"""

import logging


def log_to_stderr() -> None:
    """Write the log of the SDK to standard error, once, however often it is asked for."""
    log = logging.getLogger("chatgpt")
    log.setLevel(logging.DEBUG)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        log.addHandler(handler)
