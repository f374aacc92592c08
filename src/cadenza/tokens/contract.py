"""What every representation is: a schema of ids that can be learned, and notes to a table of them and back.

A piece becomes int16 ids of shape (N rows, F fields). Field f has the ids 0…`sizes[f]` - 1; its start
id, `sizes[f]`, stands for "before the piece" and fills what a row leaves unsaid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.notes import Header, Notes, TimeBase
from cadenza.playability import Player
from cadenza.settings import AugmentSettings

Rows = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
Widths = npt.NDArray[np.float64]
Variation = Callable[[Rows, np.random.Generator], Rows]
"""Windows (B, T, F) as they could have been as well, each changed in its own way; start ids stay."""


class Rule(Protocol):
    """What else may come next, beside a grammar and in its terms."""

    @property
    def field(self) -> int | None:
        """The one field that it speaks of; None if there are several."""

    def begin(self, lanes: int) -> Any:
        """As in a grammar."""

    def allowed(self, place: Any, field: int, rows_LF: Rows) -> Mask | None:
        """As in a grammar, or None: all."""

    def advance(self, place: Any, rows_LF: Rows) -> Any:
        """As in a grammar."""


class Grammar(Protocol):
    """What may come next in tables that are written side by side, L of them.

    A place says where each stands: an array with an entry for each, or a tuple of places.
    """

    sizes: tuple[int, ...]
    masked: tuple[int, ...]
    """The fields whose ids are not always all allowed."""

    def begin(self, lanes: int) -> Any:
        """The place of so many tables before their first row."""

    def allowed(self, place: Any, field: int, rows_LF: Rows) -> Mask:
        """The ids that `field` may take, given the first field of its rows; shape (L, V)."""

    def advance(self, place: Any, rows_LF: Rows) -> Any:
        """The place after one more row of each."""

    def ends(self, rows: Rows) -> Mask:
        """Whether a piece is over with its row; rows (…, F) give (…)."""

    def last_field(self, rows: Rows) -> Mask:
        """Whether a row is complete with its first field though others are open; rows (…, F) give (…)."""


class Schema(ABC):
    """What a table means to whoever learns it or scores it: its fields, and which of their ids count.

    `unit` is what a scored id is called.
    """

    name: str
    unit: str
    fields: tuple[str, ...]
    pitch_fields: tuple[int, ...] = ()
    """The fields that hold pitches, of one size: their ids are also known by their intervals."""
    context_groups: tuple[int, ...] = ()
    """How many columns each kind of `context` has, in their order."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.start_row: Rows = np.array(sizes, dtype=np.int16)

    @property
    def context_width(self) -> int:
        """Columns of `context`."""
        return sum(self.context_groups)

    @abstractmethod
    def scored(self, rows: Rows) -> Mask:
        """Which ids of the rows count in a likelihood, shape (N, F)."""

    @abstractmethod
    def note_count(self, rows: Rows) -> int:
        """How many notes the rows write."""

    def variation(self, pieces: Iterable[Rows], settings: AugmentSettings) -> Variation | None:  # noqa: ARG002
        """What makes other rows of training windows, fit for these pieces; None where there is nothing of the kind."""
        return None

    def widths(self, field: int) -> Widths:
        """How wide the bin of each id is, in units of the common grid, shape (V,); 1 for what is no time."""
        return np.ones(self.sizes[field])

    def context(self, rows: Rows, clock: int = 0) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """What follows from the rows and the clock before them (steps), given to the model; shape (N, 0): nothing."""
        return np.empty((len(rows), self.context_width), dtype=np.float32)


class Representation(Schema):
    """One way to write notes as ids, on one time base.

    `vocabulary` names the ids where the corpus decides them and is empty elsewhere.
    """

    def __init__(self, base: TimeBase, sizes: tuple[int, ...], vocabulary: Sequence[str] = ()) -> None:
        super().__init__(sizes)
        self.base, self.vocabulary = base, tuple(vocabulary)

    @abstractmethod
    def encode(self, notes: Notes, end: bool = True) -> Rows:
        """Ids of shape (N, F); a row that means the end comes last where there is one and `end` asks for it."""

    @abstractmethod
    def decode(self, rows: Rows, header: Header | None = None) -> Notes:
        """Notes of rows, whatever these hold."""

    @abstractmethod
    def pending(self, rows: Rows) -> Rows:
        """Fewer rows in place of these, after which whatever follows says the same: the notes of the others are settled."""

    @abstractmethod
    def steps(self, rows: Rows) -> npt.NDArray[np.int64]:
        """How far each row moves the clock, shape (N,)."""

    @abstractmethod
    def begins_note(self, rows: Rows) -> Mask:
        """Whether a note begins with each row, shape (N,)."""

    def note_count(self, rows: Rows) -> int:
        return int(self.begins_note(rows).sum())

    def context(self, rows: Rows, clock: int = 0) -> npt.NDArray[np.float32]:
        return self.context_at(clock + np.cumsum(self.steps(rows)))

    def context_at(self, clock_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What follows from where the clock stands (steps) after each row, shape (N, 0): nothing."""
        return np.empty((len(clock_N), self.context_width), dtype=np.float32)

    @abstractmethod
    def beginnings(self) -> tuple[int, npt.NDArray[np.int64]]:
        """The field whose ids begin notes, and the pitch of the note that each of its ids begins (-1: none), shape (V,)."""

    @abstractmethod
    def grammar(self, lowest: int = 0, highest: int = 127) -> Grammar:
        """The rules of this table, for a pitch range."""

    @abstractmethod
    def playable(self, player: Player, lowest: int = 0, highest: int = 127) -> Rule:
        """What an instrument can play, beside the grammar of the same pitch range; steps last as the player's do."""

    @abstractmethod
    def id_name(self, field: int, id: int) -> str:  # noqa: A002
        """An id in words, for pictures and messages."""

    @property
    def resolution(self) -> str:
        """The common grid on which likelihoods of different bins compare: 10 ms, or a step of the beat."""
        return "10 ms" if self.base.unit == "seconds" else f"1/{self.base.steps} beat"

    @property
    def units_per_step(self) -> float:
        """Units of `resolution` in a step of the time base."""
        return 100 / self.base.steps if self.base.unit == "seconds" else 1.0

    def observed(self, rows: Rows) -> tuple[str, ...]:  # noqa: ARG002
        """The vocabulary that a corpus with these rows needs."""
        return ()

    def unknown(self, notes: Notes) -> Counter[str]:  # noqa: ARG002
        """What `encode` leaves out because the vocabulary lacks it."""
        return Counter()

    def losses(self, pieces: Sequence[Notes]) -> str:  # noqa: ARG002
        """A sentence on what the rows cannot say of these pieces; empty where the loss is only in the bins."""
        return ""


def in_words(unknown: Counter[str], unit: str) -> str:
    """A sentence on what a vocabulary lacks.

    >>> in_words(Counter({"TIME_SHIFT_217": 2}), "event")
    "Not in the model's vocabulary and left out: 2 events, TIME_SHIFT_217 (2×)."
    """
    shown = ", ".join(f"{name} ({count}×)" for name, count in unknown.most_common(5))
    more = f" and {len(unknown) - 5} others" if len(unknown) > 5 else ""
    return f"Not in the model's vocabulary and left out: {unknown.total():,} {unit}s, {shown}{more}."


class Unmasked:
    """A grammar that forbids nothing; what ends a row or a piece stays as it was."""

    masked: tuple[int, ...] = ()

    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.sizes = grammar, grammar.sizes
        self.begin, self.advance = grammar.begin, grammar.advance
        self.ends, self.last_field = grammar.ends, grammar.last_field

    def allowed(self, place: Any, field: int, rows_LF: Rows) -> Mask:  # noqa: ARG002
        return np.ones((len(rows_LF), self.sizes[field]), dtype=bool)


class Ruled:
    """A grammar with further rules; what all of them allow may come next.

    A rule that gives way (`wishes`) is left aside for a row in which it and those before it would leave nothing.
    """

    def __init__(self, grammar: Grammar, rules: Sequence[Rule] = (), wishes: Sequence[Rule] = ()) -> None:
        self.grammar, self.rules, self.sizes = grammar, (*rules, *wishes), grammar.sizes
        self.speaking = [
            [
                (place, rule, place > len(rules))
                for place, rule in enumerate(self.rules, 1)
                if rule.field in (None, field)
            ]
            for field in range(len(grammar.sizes))
        ]
        self.masked = tuple(f for f, rules in enumerate(self.speaking) if rules or f in grammar.masked)
        self.ends, self.last_field = grammar.ends, grammar.last_field

    def begin(self, lanes: int) -> tuple[Any, ...]:
        return (self.grammar.begin(lanes), *[rule.begin(lanes) for rule in self.rules])

    def allowed(self, place: tuple[Any, ...], field: int, rows_LF: Rows) -> Mask:
        mask_LV = self.grammar.allowed(place[0], field, rows_LF)
        for number, rule, is_wish in self.speaking[field]:
            more_LV = rule.allowed(place[number], field, rows_LF)
            if more_LV is None:
                continue
            both_LV = mask_LV & more_LV
            mask_LV = np.where(both_LV.any(axis=1, keepdims=True), both_LV, mask_LV) if is_wish else both_LV
        return mask_LV

    def advance(self, place: tuple[Any, ...], rows_LF: Rows) -> tuple[Any, ...]:
        after = [rule.advance(place[number], rows_LF) for number, rule in enumerate(self.rules, 1)]
        return (self.grammar.advance(place[0], rows_LF), *after)
