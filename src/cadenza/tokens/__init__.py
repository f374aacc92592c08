"""Representations: notes to tables of ids, and back. `REPRESENTATIONS` alone knows their names."""

from cadenza.notes import TimeBase
from cadenza.tokens.note_rows import NoteRows, Rows

Representation = NoteRows
REPRESENTATIONS = {NoteRows.name: NoteRows}


def representation(name: str, base: TimeBase) -> Representation:
    """The representation `name` on a time base."""
    return REPRESENTATIONS[name](base)


__all__ = ["REPRESENTATIONS", "Representation", "Rows", "representation"]
