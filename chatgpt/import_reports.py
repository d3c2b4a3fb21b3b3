"""What an import did, what could not be imported, and how far an import or an export is."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from attrs import define, field, frozen

MAX_PROBLEMS: Final = 1_000
"""How many problems a report lists."""


@frozen
class ImportProblem:
    """Something that could not be read, or not be saved.

    Attributes:
        where: the file, and which of its conversations or lines.
        reason: what is wrong with it, in words that repeat nothing of what was said.
    """

    where: str
    reason: str


@frozen
class ImportedConversation:
    """A conversation that is in the store.

    Attributes:
        id: its id.
        title: its title, where it has one.
        current_node: the id of the message to go on with: give it as `parent_message_id`.
        message_count: how many messages it has, hidden ones included.
    """

    id: str
    title: str | None
    current_node: str | None
    message_count: int


@frozen
class ImportReport:
    """What an import did.

    Attributes:
        conversations: those that are in the store now, each once, in the order of ChatGPT's export. Messages in
            JSON Lines come without.
        message_count: how many messages were saved, those that were there already included.
        problems: what could not be read or saved: the first thousand, and how many more.
    """

    conversations: tuple[ImportedConversation, ...]
    message_count: int
    problems: tuple[ImportProblem, ...]


@frozen
class ArchiveProgress:
    """How far an import or an export is.

    Attributes:
        message_count: how many messages were saved, or written, so far.
        fraction: how much of the work is done, from 0 to 1; `None` where that is not known before the end.
    """

    message_count: int
    fraction: float | None


@define
class Problems:
    """Problems as they are met; no more of them are kept than a report lists."""

    _listed: list[ImportProblem] = field(factory=list)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def add(self, problems: Iterable[ImportProblem]) -> None:
        """Add some."""
        met = list(problems)
        self._count += len(met)
        self._listed += islice(met, MAX_PROBLEMS - len(self._listed))

    def listed(self) -> tuple[ImportProblem, ...]:
        """Those that are listed, and how many more there were."""
        more = self._count - len(self._listed)
        if not more:
            return tuple(self._listed)
        return (*self._listed, ImportProblem("all of it", f"{more} more problems are not listed"))
