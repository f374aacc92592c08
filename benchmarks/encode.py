"""Encoding speed against MidiTok.

The notes of 60 violin performances, each already read and merged to one track, become ids on one
thread: by the `notes` representation, and by MidiTok's `TSD` with an equally fine grid (50 positions
a beat at 120 beats a minute, so 10 ms), 32 velocities and no extra tokens. Reading is not timed;
both work in turn, and the best round of each counts.
"""

from __future__ import annotations

from pathlib import Path

import symusic
from miditok import TSD, TokenizerConfig

from cadenza.corpus.sources import open_source
from cadenza.midi import parse, to_symusic
from cadenza.notes import Notes, TimeBase
from cadenza.settings import MidiSettings, Settings
from cadenza.tokens import representation
from timing import alternate, arguments, corpus, one_thread, report

FILES = 60
ROUNDS = 7
PASSES = 20
"""Ours goes over the pieces this often in a round, so that a round is long enough to time."""
VIOLIN = 40


def main() -> None:
    one_thread()
    pieces = read(corpus(arguments(__doc__).data, "violin-etudes.tar.gz"))
    scores = [to_symusic(piece, VIOLIN) for piece in pieces]
    notes = sum(map(len, pieces))
    rows, tokenizer = representation("notes", TimeBase()), miditok()
    check_same_work(scores, tokenizer, notes)
    ours, peer = alternate(
        lambda: [rows.encode(piece) for _ in range(PASSES) for piece in pieces],
        lambda: [tokenizer.encode(score) for score in scores],
        ROUNDS,
    )
    fastest = min(ours) / PASSES
    figures = {"notes_per_second": round(notes / fastest), "ratio_vs_miditok": round(min(peer) / fastest, 1)}
    report(
        [
            f"{len(pieces)} pieces, {notes:,} notes, best of {ROUNDS} rounds on one thread",
            f"cadenza notes: {notes / fastest:12,.0f} notes per second",
            f"MidiTok TSD:   {notes / min(peer):12,.0f} notes per second",
        ],
        figures,
    )


def read(archive: Path) -> list[Notes]:
    """Evenly spread performances of the archive, in seconds."""
    settings = MidiSettings()
    with open_source(str(archive), Settings()) as source:
        chosen = [source.files[number * len(source.files) // FILES] for number in range(FILES)]
        return [parse(file.path.read_bytes(), file.name, settings).notes(settings, "seconds") for file in chosen]


def miditok() -> TSD:
    """TSD at 10 ms up to 4 s, like our shortest step and our longest duration."""
    return TSD(
        TokenizerConfig(
            pitch_range=(0, 127),
            beat_res={(0, 8): 50},
            num_velocities=32,
            use_chords=False,
            use_rests=False,
            use_tempos=False,
            use_time_signatures=False,
            use_programs=False,
        )
    )


def check_same_work(scores: list[symusic.Score], tokenizer: TSD, notes: int) -> None:
    """Both must see every note; the peer may merge those that its grid puts on one place."""
    seen = sum(
        token.startswith("Pitch_") for score in scores for track in tokenizer.encode(score) for token in track.tokens
    )
    assert 0.99 * notes <= seen <= notes, f"MidiTok wrote {seen} of {notes} notes"


if __name__ == "__main__":
    main()
