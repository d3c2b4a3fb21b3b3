"""What a pool is in both twins: its accounts, its options, its calls up to the point where they wait.

Strategy: a call of the pool is one exchange (`core.pool.sending`), which has the client of one account after the
other send the message (`pool_members`). What the pool knows of its accounts is in a ledger (`pool_ledgers`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import is_
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from chatgpt.base_client import BaseChatGPTAPI, BaseClient
from chatgpt.base_web_clients import BaseWebClient
from chatgpt.core.call_options import SendMessageOptions
from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, Surroundings
from chatgpt.core.options import DEFAULT_TIMEOUT
from chatgpt.core.pool.accounts import AccountStatus, statuses
from chatgpt.core.pool.events import AccountAdded, AccountRemoved, AccountRestored
from chatgpt.core.pool.failures import unknown_account
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.options import (
    ClientName,
    GivenAccount,
    PoolOptions,
    account_options,
    checked_accounts,
    default_options,
    given_accounts,
    given_defaults,
    pool_options,
)
from chatgpt.core.pool.sending import PooledCall, PoolSending
from chatgpt.core.secrets import Secret, wrap
from chatgpt.core.validation import (
    identifier,
    optional_number,
    required_identifier,
    seconds_of,
    token_of,
)
from chatgpt.core.web.options import SendMessageBrowserOptions
from chatgpt.pool_accounts import check_recall, made_client, stores_of
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.pool_ledgers.local import LocalLedger
from chatgpt.pool_members import OfficialMember, PoolMessage, WebMember

if TYPE_CHECKING:
    from chatgpt.stores.redis_address import RedisAddress

ClientT = TypeVar("ClientT", bound=BaseClient)
GivenStoreT = TypeVar("GivenStoreT")
StoreT = TypeVar("StoreT")

DEFAULT_COOLDOWN: Final = 60.0
DEFAULT_LEASE_SECONDS: Final = 15.0
DEFAULT_KEY_PREFIX: Final = "chatgpt"

REDIS_TIMEOUTS: Final = (1.5, 1.5)
"""Seconds for connecting to Redis and for its answer, where the URL does not say otherwise: calls wait for it."""

_OWN: Final = frozenset({"timeout", "abort"})
_OFFICIAL: Final = SendMessageOptions.__annotations__.keys() - _OWN
_WEB: Final = SendMessageBrowserOptions.__annotations__.keys() - _OWN
"""The options of a call by its flow, but for those that are the pool's own affair."""


class PoolKeywords(TypedDict, Generic[GivenStoreT], total=False):
    """The options of a pool, for a type checker; `BasePool.__init__` describes them."""

    cooldown: float
    max_concurrent: int | None
    failover: bool
    timeout: float
    defaults: Mapping[str, object] | None
    message_store: GivenStoreT | None
    redis_url: str | Secret | None
    key_prefix: str
    lease_seconds: float


class BasePool(ABC, Generic[ClientT, GivenStoreT, StoreT]):
    """A pool, but for what waits."""

    _surroundings: Surroundings
    _client_types: ClassVar[Mapping[ClientName, type[BaseClient]]]
    _ledger: KeptLedger
    _store: StoreT

    @overload  # two, so that a type checker takes mappings whose accounts differ in type
    def __init__(
        self,
        accounts: Mapping[str, ClientT | Mapping[str, object]],
        **options: Unpack[PoolKeywords[GivenStoreT]],
    ) -> None: ...

    @overload
    def __init__(
        self,
        accounts: Iterable[ClientT | Mapping[str, object]],
        **options: Unpack[PoolKeywords[GivenStoreT]],
    ) -> None: ...

    def __init__(
        self,
        accounts: Iterable[ClientT | Mapping[str, object]]
        | Mapping[str, ClientT | Mapping[str, object]],
        *,
        cooldown: float = DEFAULT_COOLDOWN,
        max_concurrent: int | None = None,
        failover: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
        defaults: Mapping[str, object] | None = None,
        message_store: GivenStoreT | None = None,
        redis_url: str | Secret | None = None,
        key_prefix: str = DEFAULT_KEY_PREFIX,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
    ) -> None:
        """Make a pool. Nothing is sent.

        Args:
            accounts: the accounts, all of the official flow or all of the web flow: clients of this twin, or
                mappings of the options of one, of which the pool makes a client: with `clearance_token` a
                `ChatGPTSessionAPI`; with `access_token`, `get_access_token`, `email`, `password` or
                `session_token` a `ChatGPTUnofficialProxyAPI`; with none of these a `ChatGPTAPI`. Beside the
                client's options they may have `account_id` and `max_concurrent`. Or a mapping of ids to such
                accounts; by default the ids are `"account-1"`, `"account-2"` and so on. A pickle carries no
                secrets: `Secret(key, "ALICE_KEY")` names the variable in which an account finds its own again.
            cooldown: the seconds of which an account that has failed rests a multiple: 3 times after a rate limit
                (or what the server asks for, if that is longer), 2 times where the server failed or was not
                reached, 5 times after anything else; 0 for no rest at all. By default 60.
            max_concurrent: how many calls an account takes at once; by default 1 in the web flow, where ChatGPT's
                backend answers one message at a time, and any number in the official flow.
            failover: in the official flow, whether a call whose account fails moves on to the next one, as long as
                the caller has seen no part of the reply. What may be the message's own fault (a server that fails)
                moves it at most as often as the client repeats a request (`max_retries`). Where no other account is
                ready, the request is repeated as a client alone would.
            timeout: seconds for a whole call: waiting for an account, all attempts and the last byte; by default
                600, `math.inf` for no limit. The `timeout` of the clients does not count here.
            defaults: options of all accounts that are mappings, such as `{"get_access_token": log_in}`; by default
                none.
            message_store: where the messages of the official flow are kept, whoever answers; by default the store
                that the clients were given, or memory. It is yours to close.
            redis_url: the URL of a Redis server (`redis://host:6379`, see `RedisStore`) in which pools of other
                processes and machines, that have the same accounts by the same ids, see the same cooldowns, limits
                and conversations; then each account needs an id. By default the pool has its accounts for itself.
            key_prefix: what its keys in Redis begin with, in braces. Pools with other prefixes share nothing.
            lease_seconds: after how many seconds others may use the accounts of a process that has died; a process
                says three times in that time that it lives. By default 15, at least 1.

        Raises:
            ConfigurationError: an option is malformed or contradicts another one, or redis-py is missing.
            TypeError: an option has the wrong type.
        """
        # The bare secrets leave this frame first: a traceback may show its names.
        given, common = given_accounts(accounts), given_defaults(defaults)
        address = wrap(redis_url)
        del accounts, defaults, redis_url
        options = pool_options(
            cooldown=cooldown,
            max_concurrent=max_concurrent,
            failover=failover,
            timeout=timeout,
            key_prefix=key_prefix,
            lease_seconds=lease_seconds,
        )
        self._defaults = default_options(common)
        redis = None if address is None else _redis_address(address)
        self._begin(checked_accounts(given), options, message_store, redis)

    def _begin(
        self,
        given: Iterable[GivenAccount],
        options: PoolOptions,
        message_store: object,
        redis: RedisAddress | None,
    ) -> None:
        self._options = options
        self._redis = redis
        # Other threads may change them at any time: each step is one operation, and who goes through them copies.
        self._clients: dict[str, ClientT] = {}
        self._limits: dict[str, int | None] = {}
        self._made: set[str] = set()
        self._counted: dict[str, ChatMessage] = {}
        self._claimed: dict[str, object] = {}
        self._given_store = message_store
        self._shared: list[object] | None = None
        for account in given:
            self._take_in(account)
        self._store = self._chosen_store()
        self._ledger = self._new_ledger()

    def _new_ledger(self) -> KeptLedger:
        if self._redis is None:
            return LocalLedger(self._limits)
        from chatgpt.pool_ledgers.shared import SharedLedger

        options = self._options
        return SharedLedger(self._limits, self._redis, options.key_prefix, options.lease_seconds)

    # --- what a twin makes -------------------------------------------------------------------

    @abstractmethod
    def _checked_store(self, store: object) -> StoreT:
        """Check a store that is given."""

    @abstractmethod
    def _new_store(self) -> StoreT:
        """Make a store in memory."""

    # --- accounts ----------------------------------------------------------------------------

    @property
    def message_store(self) -> StoreT:
        """Where the messages of the official flow are kept, whichever account answers."""
        return self._store

    @property
    def accounts(self) -> Mapping[str, ClientT]:
        """The clients of the pool, by the ids of their accounts, as they are now."""
        return MappingProxyType(dict(self._clients))

    def _take_in(self, given: GivenAccount) -> AccountAdded:
        """Take an account in, and return what the books are to say, which do not know of it yet."""
        is_client = isinstance(given.account, tuple(self._client_types.values()))
        if not is_client:
            given = account_options(given, self._defaults)
        named = identifier("account_id", given.account_id)
        if named is None and self._redis is not None:
            raise ConfigurationError(
                "Accounts that processes share need ids, the same everywhere: give a mapping of ids to accounts, or "
                "account_id."
            )
        name = named or self._free_id()
        if name in self._clients:
            raise _taken(name)
        limit = optional_number("max_concurrent", given.max_concurrent)
        client = (
            cast("ClientT", given.account)
            if is_client
            else cast("ClientT", made_client(self._client_types, name, given.account))
        )
        is_web = isinstance(client, BaseWebClient)
        if any(isinstance(known, BaseWebClient) != is_web for known in [*self._clients.values()]):
            raise ConfigurationError(
                "The accounts of a pool are all of the official flow (ChatGPTAPI) or all of the web flow: a "
                "conversation of one cannot go on in the other. Make two pools."
            )
        if not is_web:
            self._check_store(client)
        if limit is None:
            limit = self._options.max_concurrent or (1 if is_web else None)
        while self._clients.setdefault(name, client) is not client:  # another thread was faster
            if named is not None:
                raise _taken(name)
            name = self._free_id()
        self._limits[name] = limit
        if not is_client:
            self._made.add(name)
        return AccountAdded(name, limit)

    def _free_id(self) -> str:
        number = len(self._clients) + 1
        while f"account-{number}" in self._clients:
            number += 1
        return f"account-{number}"

    def _check_store(self, client: ClientT) -> None:
        """Check that a client, if it was given a store, was given that of the pool."""
        given = stores_of(client)
        if self._given_store is not None or given is None:
            return
        if self._shared is None and not hasattr(self, "_store"):
            self._shared = given
        if self._shared is None or not all(map(is_, given, self._shared)):
            raise ConfigurationError(
                "The accounts have different stores, and a thread must be found whoever answers: give "
                "message_store to the pool, or the same to all clients."
            )

    def _chosen_store(self) -> StoreT:
        """The store of the pool: its own, that which its clients were given, or memory."""
        if self._given_store is not None:
            return self._checked_store(self._given_store)
        for client in self.accounts.values():
            if stores_of(client) is not None:
                return cast("StoreT", cast("Any", client)._store)  # noqa: SLF001
        return self._new_store()

    @contextmanager
    def _adding(self, given: GivenAccount) -> Iterator[AccountAdded]:
        """Take an account in; the books are to say so meanwhile, or it is taken out again."""
        added = self._take_in(given)
        try:
            yield added
        except BaseException:
            self._ledger.write(AccountRemoved(added.account_id))
            self._taken_out(added.account_id)
            raise

    def _removed(self, account_id: object) -> AccountRemoved:
        return AccountRemoved(self._known_id(account_id))

    def _taken_out(self, account_id: str) -> ClientT | None:
        """Take an account out that the books do not know any more; return its client where it is to be closed."""
        client = self._clients.pop(account_id, None)
        self._limits.pop(account_id, None)
        is_made = account_id in self._made
        self._made.discard(account_id)
        return client if is_made else None

    def _made_clients(self) -> list[ClientT]:
        """The clients that are the pool's to close."""
        made = self._made.copy()
        return [client for account_id, client in self.accounts.items() if account_id in made]

    def _known_id(self, account_id: object) -> str:
        """Check that it is the id of an account.

        Raises:
            PoolError: `chatgpt:pool:account-not-found`.
        """
        name = required_identifier("account_id", account_id)
        if name not in self._clients:
            raise unknown_account(name, [*self._clients])
        return name

    def _restored(self, account_id: object) -> AccountRestored:
        return AccountRestored(self._known_id(account_id))

    def _renewal(self, account_id: object) -> tuple[ClientT, Exchange[Secret]]:
        """The client of an account, and the exchange that gets it a new access token."""
        client = self._clients[self._known_id(account_id)]
        if not isinstance(client, BaseWebClient):
            raise TypeError(
                "refresh_account is of the web flow: the official flow has no access tokens."
            )
        return client, client._renewal()  # noqa: SLF001 - a client of this package

    def _statuses(self) -> dict[str, AccountStatus]:
        state, now = self._ledger.read_now()
        return statuses(state, self._ledger.holder_id, now, self._surroundings.now())

    # --- calls -------------------------------------------------------------------------------

    def _message(
        self,
        text: object,
        *,
        account_id: object,
        timeout: object,
        abort: object,
        is_iterated: bool = False,
        **given: object,
    ) -> PoolMessage:
        """A message with its options, which are checked now."""
        options = {name: value for name, value in given.items() if value is not None}
        clients = dict(self._clients)
        is_web = any(isinstance(client, BaseWebClient) for client in clients.values())
        for name in options:
            if clients and name not in (_WEB if is_web else _OFFICIAL):
                flow, other = ("web", "official") if is_web else ("official", "web")
                raise TypeError(
                    f"{name} is an option of the {other} flow, and the accounts of this pool are of the {flow} flow."
                )
        wanted = identifier("account_id", account_id)
        conversation = identifier("conversation_id", options.get("conversation_id"))
        call = PooledCall(
            account_id=wanted,
            conversation_id=conversation if is_web else None,
            is_only=len(clients) == 1,
            is_web=is_web,
            timeout=self._options.timeout if timeout is None else seconds_of("timeout", timeout),
            abort=token_of("abort", abort),
            cooldown=self._options.cooldown,
            failover=self._options.failover,
        )
        message = PoolMessage(text, options, is_iterated, call)
        if clients:  # what one of them finds wrong is said before anything is sent
            first = wanted if wanted is not None and wanted in clients else next(iter(clients))
            self._member(first, clients[first], message).send(1.0, repeats=True).close()
        return message

    def _sending(self, message: PoolMessage) -> PoolSending:
        return PoolSending(message.call, self._ledger, self._surroundings)

    def _member(self, account_id: str, client: ClientT, message: PoolMessage) -> Member:
        """The client of an account, as a call sees it."""
        if isinstance(client, BaseWebClient):
            return WebMember(account_id, client, message)
        official = cast("BaseChatGPTAPI[Any, Any, Any, Any]", client)
        return OfficialMember(account_id, official, message, self._counted, self._claimed)

    # --- the object --------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = type(self).__name__
        if not hasattr(self, "_ledger"):  # a traceback shows a pool whose constructor failed, too
            return f"<{name} that was not made>"
        return f"<{name} of {len(self._clients)} accounts: {', '.join([*self._clients])}>"

    def __reduce__(self) -> tuple[Any, ...]:
        check_recall(self.accounts)
        return _unpickled, self._parts()

    def __copy__(self) -> Self:
        pool = cast("Self", _unpickled(*self._parts()))
        pool._made.clear()  # noqa: SLF001 - the clients are the original's
        return pool

    def _parts(self) -> tuple[Any, ...]:
        limits = dict(self._limits)
        members = [
            GivenAccount(client, name, limits[name]) for name, client in self.accounts.items()
        ]
        options = self._options
        return type(self), members, self._defaults, options, self._given_store, self._redis


def _unpickled(
    cls: type[BasePool[Any, Any, Any]],
    members: list[GivenAccount],
    defaults: dict[str, object],
    options: PoolOptions,
    message_store: object,
    redis: RedisAddress | None,
) -> BasePool[Any, Any, Any]:
    pool = cls.__new__(cls)
    pool._defaults = defaults  # noqa: SLF001 - its own function
    pool._begin(members, options, message_store, redis)  # noqa: SLF001
    pool._made.update(pool.accounts)  # noqa: SLF001 - nobody else has these clients
    return pool


def _taken(account_id: str) -> ConfigurationError:
    return ConfigurationError(f"account_id {account_id!r} is that of another account of the pool.")


def _redis_address(url: Secret) -> RedisAddress:
    from chatgpt.stores.redis_address import RedisAddress

    return RedisAddress(url, "redis", name="redis_url", timeouts=REDIS_TIMEOUTS)
