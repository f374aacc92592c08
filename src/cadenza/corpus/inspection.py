"""What is in a corpus, as plain values for a table or for JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.corpus.scan import Corpus, Entry
from cadenza.instruments import Instrument, by_program, program_name
from cadenza.notes import pitch_name, simultaneous
from cadenza.playability import FINE, OBJECTIONS, judge


def findings(corpus: Corpus) -> dict[str, Any]:
    """Counts, ranges and quantiles over the kept pieces, and every entry of the manifest."""
    pieces, kept = corpus.pieces, corpus.kept
    works = Counter(entry.work for entry in kept)
    result: dict[str, Any] = {
        "source": corpus.source,
        "files": len(corpus.entries),
        "kept": len(pieces),
        "dropped": len(corpus.dropped),
        "works": len(works),
        "pieces_sharing_a_work": sum(count for count in works.values() if count > 1),
        "notes": sum(map(len, pieces)),
        "hours": round(sum(piece.length_seconds for piece in pieces) / 3600, 2),
        "time_base": asdict(corpus.base),
        "onsets_on_beat_grid": round(corpus.on_grid, 4),
        "instruments": dict(Counter(entry.instrument for entry in kept).most_common()),
        "files_with_other_instruments_set_aside": sum(bool(entry.set_aside) for entry in kept),
        "same_work": same_work(kept),
        "entries": [asdict(entry) for entry in corpus.entries],
    }
    if pieces:
        pitch = np.concatenate([piece.pitch for piece in pieces])
        velocity = np.concatenate([piece.velocity for piece in pieces])
        result |= {
            "pitch": {"lowest": int(pitch.min()), "highest": int(pitch.max())},
            "notes_at_once": dict(sorted(Counter(simultaneous(piece) for piece in pieces).items())),
            "notes_per_piece": quantiles([len(piece) for piece in pieces]),
            "seconds_per_piece": quantiles([piece.length_seconds for piece in pieces]),
            "note_seconds": quantiles(np.concatenate([piece.duration * piece.header.step_seconds for piece in pieces])),
            "velocities": len(np.unique(velocity)),
        }
        if instrument := by_program(corpus.program):
            result["playable"] = playable(corpus, instrument)
    return result


def playable(corpus: Corpus, instrument: Instrument) -> dict[str, Any]:
    """What share of the notes an instrument can play, how many pieces in full, and what stands against the others."""
    codes = [judge(piece, instrument) for piece in corpus.pieces]
    places = {
        reason: [np.flatnonzero(each == code) for each in codes] for code, reason in enumerate(OBJECTIONS, FINE + 1)
    }
    return {
        "instrument": program_name(instrument.program),
        "share_of_notes": round(float(np.mean(np.concatenate(codes) == FINE)), 5),
        "pieces_in_full": sum(not each.any() for each in codes),
        "objections": [objection(corpus, reason, found) for reason, found in places.items() if any(map(len, found))],
    }


def objection(corpus: Corpus, reason: str, places: Sequence[npt.NDArray[np.intp]]) -> dict[str, Any]:
    """How many notes a reason stands against, and the first of them in the piece that has most; `places` by piece."""
    worst = int(np.argmax([len(found) for found in places]))
    piece, note = corpus.pieces[worst], int(places[worst][0])
    return {
        "reason": reason,
        "notes": sum(map(len, places)),
        "piece": corpus.kept[worst].name,
        "seconds": round(float(piece.onset[note] * piece.header.step_seconds), 2),
        "pitch": pitch_name(int(piece.pitch[note])),
    }


def same_work(kept: Sequence[Entry]) -> list[list[str]]:
    """The names of the pieces of each work that has several, the largest work first."""
    names: dict[int, list[str]] = defaultdict(list)
    for entry in kept:
        names[entry.work].append(entry.name)
    return sorted((group for group in names.values() if len(group) > 1), key=len, reverse=True)


def quantiles(values: Any) -> dict[str, float]:
    """Smallest, quartiles, largest."""
    points = np.quantile(np.asarray(values, dtype=float), [0, 0.25, 0.5, 0.75, 1])
    return dict(
        zip(
            ("smallest", "quarter", "median", "three_quarters", "largest"),
            (round(float(point), 3) for point in points),
            strict=True,
        )
    )
