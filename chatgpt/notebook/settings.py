"""What `%chat_config` sets, and the client that follows from it.

Rules:

1. No key is typed into a notebook, where it would be kept with its cells: it comes from the environment, or with a client
   that a variable of the notebook holds.
2. A client that was made here is closed when another one takes its place; one of the notebook's own is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from IPython.core.error import UsageError

from chatgpt.client import ChatGPTAPI
from chatgpt.core.options import DEFAULT_TIMEOUT
from chatgpt.proxy import ChatGPTUnofficialProxyAPI
from chatgpt.session import ChatGPTSessionAPI
from chatgpt.stores.memory import MemoryStore
from chatgpt.stores.sqlite import SQLiteStore
from chatgpt.streams import MessageStream

Client = ChatGPTAPI | ChatGPTSessionAPI | ChatGPTUnofficialProxyAPI


@frozen(kw_only=True)
class ChatSettings:
    """How the cells of a notebook are answered; `None` leaves a setting to the SDK.

    Attributes:
        model, system, api_base_url, timeout: as `ChatGPTAPI` has them; `timeout` in seconds.
        params: further fields of each request.
        store: the file in which conversations are kept; `None` for the memory of the kernel.
        client: the variable that holds the client to use, in place of one that is made of the other settings.
    """

    model: str | None = None
    system: str | None = None
    params: Mapping[str, object] = {}
    api_base_url: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    store: Path | None = None
    client: str | None = None


class Backend:
    """The client that answers the cells, and its store.

    Args:
        settings: what follows from these.
        variables: those of the notebook.
        memory: where conversations are kept that no file keeps.

    Raises:
        UsageError: the settings do not go together, or the variable holds no client.
        ConfigurationError: a setting is wrong, or the key is missing.
        StoreError: the store cannot be opened.
    """

    def __init__(
        self, settings: ChatSettings, variables: Mapping[str, object], memory: MemoryStore
    ) -> None:
        self._settings = settings
        self._is_own = settings.client is None
        self.store: SQLiteStore | None = None
        if settings.client is not None:
            self.client = _client_in(settings, variables)
            return
        self.store = None if settings.store is None else SQLiteStore(settings.store)
        try:
            self.client = ChatGPTAPI(
                model=settings.model,
                system_message=settings.system,
                completion_params=settings.params,
                api_base_url=settings.api_base_url,
                timeout=settings.timeout,
                message_store=self.store or memory,
            )
        except BaseException:
            self.close()
            raise

    def stream(
        self,
        text: str,
        *,
        conversation_id: str | None,
        parent_message_id: str | None,
        model: str | None,
        system: str | None,
    ) -> MessageStream:
        """Return the reply to a message, as a stream.

        Args:
            text: the message.
            conversation_id: the conversation; `None` for a new one.
            parent_message_id: what the message replies to.
            model: the model that is asked, in place of the client's.
            system: the instructions, in place of the client's.

        Raises:
            UsageError: a client of the web flow cannot be told `model` or `system`.
        """
        client = self.client
        if isinstance(client, ChatGPTAPI):
            return client.conversation(
                conversation_id=conversation_id,
                parent_message_id=parent_message_id,
                system_message=system,
                completion_params=None if model is None else {"model": model},
            ).stream(text)
        if model is not None or system is not None:
            raise UsageError("--model and --system are for a ChatGPTAPI; this client has its own.")
        return client.conversation(
            conversation_id=conversation_id, parent_message_id=parent_message_id
        ).stream(text)

    def close(self) -> None:
        """Close what was made here."""
        if self._is_own:
            if hasattr(self, "client"):
                self.client.close()
            if self.store is not None:
                self.store.close()


def _client_in(settings: ChatSettings, variables: Mapping[str, object]) -> Client:
    if settings != ChatSettings(client=settings.client):
        raise UsageError(
            "--client brings its own settings: give it alone, or after --reset. (--model and --system of %%chat "
            "hold for one conversation.)"
        )
    found = variables.get(settings.client or "")
    if not isinstance(found, Client):
        known = ", ".join(names_of_clients(variables)) or "none"
        raise UsageError(
            f"{settings.client} is no variable that holds a client of chatgpt; those that do: {known}."
        )
    return found


def names_of_clients(variables: Mapping[str, object]) -> list[str]:
    """The variables that hold a client that can answer cells."""
    return sorted(
        name
        for name, value in variables.items()
        if isinstance(value, Client) and not name.startswith("_")
    )
