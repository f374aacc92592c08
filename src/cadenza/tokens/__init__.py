"""Representations: notes to tables of ids, and back. `REPRESENTATIONS` alone knows their names."""

from collections.abc import Callable, Sequence

from cadenza.notes import TimeBase
from cadenza.tokens.contract import Grammar, Representation, Rows, Rule, Ruled, Schema, Unmasked, Variation
from cadenza.tokens.note_rows import NoteRows
from cadenza.tokens.study_events import StudyEvents

REPRESENTATIONS: dict[str, Callable[[TimeBase, Sequence[str]], Representation]] = {
    NoteRows.name: lambda base, _: NoteRows(base),
    StudyEvents.name: StudyEvents,
}


def representation(name: str, base: TimeBase, vocabulary: Sequence[str] = ()) -> Representation:
    """The representation `name` on a time base; `vocabulary` where the corpus decides the ids."""
    return REPRESENTATIONS[name](base, vocabulary)


__all__ = [
    "REPRESENTATIONS",
    "Grammar",
    "Representation",
    "Rows",
    "Rule",
    "Ruled",
    "Schema",
    "Unmasked",
    "Variation",
    "representation",
]
