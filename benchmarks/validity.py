"""Valid rows under the masks of every model and representation.

Untrained networks with large random weights improvise at temperature 2, 64 pieces at a time: every trunk in every
representation, the study's events with half of their vocabulary. END is made unlikely, and pieces that reach it sooner
than after 64 rows are judged but not counted. A piece is invalid if a strict decoder, written apart from the masks and
from the decoder of the program (`strict.py`), refuses it or hears other notes than the program does. `mass_removed` is
the share of the network's probability that masks took, the mean over all ids that were chosen.
`invalid_without_masks` is the share of pieces of the same networks that are invalid when nothing is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch

from cadenza import engine
from cadenza.ending import Length, Step
from cadenza.models import MODELS, build
from cadenza.notes import TimeBase
from cadenza.sample import Reader, sample
from cadenza.settings import ModelSettings, SampleSettings
from cadenza.tokens import Grammar, Representation, Rows, Unmasked, representation
from strict import Invalid, Note, Row, read_note_rows, read_study_events
from timing import give_up, parser, report

SAMPLES, FEWEST_ROWS, MOST_ROWS = 10_000, 64, 80
SHOWN = 3
"""Faults of a network, of those that it has."""
LANES, WINDOW = 64, 16
LOWEST, HIGHEST = 50, 90
LARGER, UNLIKELIER = 3, 6
"""Weights are so many times as large as fresh ones, so that what came before makes a difference; END costs so many nats."""


@dataclass(frozen=True)
class Kind:
    """A representation and how it is read by the letter."""

    tokens: Representation
    read: Callable[[Sequence[Row], int, int], list[Note]]

    def fault(self, rows: Rows) -> str:
        """What is wrong with a piece; empty if nothing is."""
        try:
            notes = self.read(rows.tolist(), LOWEST, HIGHEST)
        except Invalid as broken:
            return str(broken)
        columns = [column.tolist() for column in self.tokens.decode(rows).columns]
        return "" if sorted(notes) == sorted(zip(*columns, strict=True)) else "its notes are decoded to others"


def kinds() -> dict[str, Kind]:
    """Every representation, on every time base that it has."""
    seconds, beats = TimeBase("seconds", 100), TimeBase("beats", 24)
    words = half_of(representation("study", seconds).vocabulary)
    return {
        "notes in seconds": Kind(representation("notes", seconds), partial(read_note_rows, unit="seconds")),
        "notes in beats": Kind(representation("notes", beats), partial(read_note_rows, unit="beats")),
        "study": Kind(representation("study", seconds, words), partial(read_study_events, vocabulary=words)),
    }


def half_of(vocabulary: Sequence[str]) -> list[str]:
    """In order, with the event that every piece opens with."""
    kept = np.random.default_rng(0).random(len(vocabulary)) < 0.5
    return [word for word, stays in zip(vocabulary, kept, strict=True) if stays or word == "VELOCITY_100"]


def untrained(trunk: str, tokens: Representation) -> Reader:
    window = WINDOW if trunk == "transformer" else 0
    settings = ModelSettings.model_validate({"trunk": trunk, "layers": 1, "width": 32, "window": window})
    model = build(settings, tokens.sizes, tokens.context_width, 0, tokens.pitch_fields)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(LARGER)
        if tokens.name == "notes":
            model.get_parameter("heads.leave.0.bias")[-1] -= UNLIKELIER
    return engine.reader({name: tensor.numpy() for name, tensor in model.state_dict().items()}, settings, tokens)


def improvised(reader: Reader, tokens: Representation, grammar: Grammar, count: int, seed: int) -> list[list[Step]]:
    """So many pieces of one seed."""
    pieces: list[list[Step]] = [[] for _ in range(count)]
    nothing = np.empty((0, len(tokens.sizes)), np.int16)
    settings = SampleSettings(temperature=2, rows=MOST_ROWS)
    for step in sample(
        reader, tokens, grammar, settings, items=range(count), seed=seed, length=Length(), prompt=nothing
    ):
        pieces[step.item].append(step)
    return pieces


@dataclass(frozen=True)
class Judged:
    """What became of the pieces of one network: those counted, the faults of all, what masks took of how many choices."""

    samples: int
    faults: list[str]
    removed: float
    choices: int
    invalid_without_masks: float


def judge(trunk: str, kind: Kind, wanted: int) -> Judged:
    """Improvise until so many pieces are long enough."""
    reader, grammar = untrained(trunk, kind.tokens), kind.tokens.grammar(LOWEST, HIGHEST)
    samples, seed, faults, removed, choices = 0, 0, [], 0.0, 0
    while samples < wanted:
        for piece in improvised(reader, kind.tokens, grammar, min(LANES, wanted - samples), seed):
            rows = np.stack([step.row for step in piece])
            faults += [fault] if (fault := kind.fault(rows)) else []
            samples += len(rows) >= FEWEST_ROWS
            removed += sum(step.removed for step in piece)
            choices += int((rows != kind.tokens.start_row).sum())
        seed += 1
    free = improvised(reader, kind.tokens, Unmasked(grammar), LANES, seed=0)
    broken = sum(bool(kind.fault(np.stack([step.row for step in piece]))) for piece in free) / len(free)
    return Judged(samples, faults, removed, choices, broken)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--samples", type=int, default=SAMPLES, help="pieces that are long enough, in all")
    given = options.parse_args()
    cells = list(product(MODELS, kinds().items()))
    if given.samples < len(cells):
        give_up(f"--samples must be at least {len(cells)}, for example --samples {SAMPLES}.")
    shares = [len(part) for part in np.array_split(np.arange(given.samples), len(cells))]
    judged = [judge(trunk, kind, share) for (trunk, (_, kind)), share in zip(cells, shares, strict=True)]
    report(
        [in_words(trunk, name, one) for (trunk, (name, _)), one in zip(cells, judged, strict=True)],
        {
            "samples": sum(one.samples for one in judged),
            "invalid": sum(len(one.faults) for one in judged),
            "mass_removed": round(sum(one.removed for one in judged) / sum(one.choices for one in judged), 3),
            "invalid_without_masks": round(float(np.mean([one.invalid_without_masks for one in judged])), 3),
        },
    )


def in_words(trunk: str, name: str, one: Judged) -> str:
    """A line on one network, and its first faults."""
    removed, broken = one.removed / one.choices, one.invalid_without_masks
    line = f"{trunk:<12} {name:<17} {one.samples:>6,} samples, {len(one.faults)} invalid; masks took {removed:.1%}; without them {broken:.1%} are invalid"
    return "\n  ".join([line, *one.faults[:SHOWN]])


if __name__ == "__main__":
    main()
