"""How soon does Cadenza know as much of unseen music as its peers do in their whole time?

Three contestants train for the same wall time on the same two threads, in turn, a few seconds each: a
preset of Cadenza; the network and loop of the study that it began from, on the same note rows as single tokens
(`study_network.py`); and GPT-2 of as many parameters on MidiTok's TSD tokens (`gpt2.py`). The work is the
violin corpus, split by the pieces of `split_by_piece.csv`. A contestant's clock counts planning and training
steps, data loading included, not evaluations; ours is evaluated forty times, a peer ten times, as a match is
to be told to some seconds. Ours has its matrix products in bfloat16 where that is faster, the peers are float32, as
their users get them. Each keeps its weights of the best validation, and these are scored once on the test pieces.

Bits per note of ours and of the study's network count at the 64 time values of the `notes` rows and, as
`_10ms`, on the grid of GPT-2's tokens. `seconds_to_match` is the clock of ours at its first evaluation at
or below the peer's best validation figure, and the speed-up is the whole time over it; `seconds_of_best` says when
each was at its best.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from cadenza.errors import CadenzaError
from cadenza.presets import build
from contestant import TEST, VALIDATION, Bits, Contestant, Work
from gpt2 import GPT2
from ours import Ours
from study_network import StudyNetwork
from timing import give_up, needs, parser, report

MINUTES = 10.0
THREADS = 2
SLICE_SECONDS = 5.0
OUR_POINTS = [(number / 40) ** 1.5 for number in range(1, 41)]
PEER_POINTS = [number / 10 for number in range(1, 11)]
"""Shares of the time at which validation is scored."""


class Lane:
    """A contestant with its clock, in seconds, and its validation curve: clock and bits of each evaluation."""

    def __init__(self, contestant: Contestant, points: Sequence[float], seconds: float) -> None:
        self.contestant, self.seconds = contestant, seconds
        self.points = [point * seconds for point in points]
        self.steps = contestant.training(seconds)
        self.clock = self.notes = 0.0
        self.scored_notes = -1.0
        self.done = False
        self.curve: list[tuple[float, Bits]] = []
        self.best, self.best_clock = Bits(math.nan, math.nan), math.nan
        self.weights: dict[str, Any] = {}

    def advance(self, until: float) -> None:
        """Train until the clock shows `until` or the plan is fulfilled, and score validation where it is due."""
        while not self.done and self.clock < until:
            begin = time.perf_counter()
            notes = next(self.steps, None)
            self.clock += time.perf_counter() - begin
            self.notes += notes or 0
            self.done = notes is None or self.clock >= self.seconds
            due = self.done or (notes and self.clock >= self.points[0])
            if due and self.notes != self.scored_notes:
                self.validate()

    def validate(self) -> None:
        self.scored_notes = self.notes
        self.points = [point for point in self.points if point > self.clock] or [math.inf]
        bits = self.contestant.score(VALIDATION)
        self.curve.append((self.clock, bits))
        if not self.weights or bits.on_grid < self.best.on_grid:
            self.best, self.best_clock = bits, self.clock
            self.weights = copy.deepcopy(self.contestant.model.state_dict())
        print(f"{self.contestant.name:<16} {self.clock:6.1f} s: validation {words(bits)}", flush=True)

    def test(self) -> Bits:
        """The test pieces, with the weights of the best validation."""
        self.contestant.model.load_state_dict(self.weights)
        return self.contestant.score(TEST)

    def seconds_to_match(self, goal: float) -> float | None:
        """The clock at the first evaluation at or below `goal` bits per note at 10 ms; None if there is none."""
        return first_at_or_below([(clock, bits.on_grid) for clock, bits in self.curve], goal)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=MINUTES, help="training time of each contestant")
    options.add_argument("--preset", default="small", help="of Cadenza")
    options.add_argument("--threads", type=int, default=THREADS, help="of each contestant in its turn")
    given = options.parse_args()
    if not (0 < given.minutes < math.inf and given.threads > 0):
        give_up("--minutes and --threads must be more than 0, for example --minutes 10 --threads 2.")
    needs(("miditok", "transformers"))
    torch.set_num_threads(given.threads)
    seconds = 60 * given.minutes
    lanes = enter(Work.read(given.data), given.preset, seconds)
    race(lanes, seconds)
    tested = [lane.test() for lane in lanes]
    report(table(lanes, tested), figures(lanes, tested, seconds))


def enter(work: Work, preset: str, seconds: float) -> list[Lane]:
    """Ours, the study's network and GPT-2."""
    try:
        settings = build(preset, train={"minutes": seconds / 60})
    except CadenzaError as error:
        give_up(str(error))
    ours = Ours(f"cadenza {preset}", settings, work)
    peers = [StudyNetwork(work), GPT2(work, ours.parameters)]
    print(work.described())
    print("; ".join(f"{each.name} {each.parameters:,} parameters" for each in (ours, *peers)), flush=True)
    return [Lane(ours, OUR_POINTS, seconds), *(Lane(peer, PEER_POINTS, seconds) for peer in peers)]


def race(lanes: Sequence[Lane], seconds: float) -> None:
    """Every lane in turn, slice by slice, until each has had its time."""
    for number in range(1, math.ceil(seconds / SLICE_SECONDS) + 1):
        for lane in lanes:
            lane.advance(min(number * SLICE_SECONDS, seconds))


def first_at_or_below(curve: Sequence[tuple[float, float]], goal: float) -> float | None:
    """When a falling curve first meets the goal."""
    return next((clock for clock, value in curve if value <= goal), None)


def words(bits: Bits) -> str:
    at_bins = "" if math.isnan(bits.at_bins) else f"{bits.at_bins:.2f} bits per note, "
    return f"{at_bins}{bits.on_grid:.2f} at 10 ms"


def table(lanes: Sequence[Lane], tested: Sequence[Bits]) -> list[str]:
    return [
        f"{lane.contestant.name:<16} {lane.contestant.parameters:>9,} parameters, {lane.notes:>9,.0f} notes in {lane.clock:5.0f} s; best validation {words(lane.best)}; test {words(bits)}"
        for lane, bits in zip(lanes, tested, strict=True)
    ]


def figures(lanes: Sequence[Lane], tested: Sequence[Bits], seconds: float) -> dict[str, float | None]:
    """Of ours without a prefix; a peer that is never matched has no seconds and no speed-up."""
    found: dict[str, float | None] = {}
    for prefix, lane, test in zip(("", "study_", "hf_"), lanes, tested, strict=True):
        found[f"{prefix}parameters"] = lane.contestant.parameters
        found[f"{prefix}notes_per_second"] = round(lane.notes / lane.clock)
        found[f"{prefix}seconds_of_best"] = round(lane.best_clock, 1)
        for part, bits in (("test", test), ("validation", lane.best)):
            named = {f"{prefix}{part}_bits_per_note": bits.at_bins, f"{prefix}{part}_bits_per_note_10ms": bits.on_grid}
            found |= {name: round(value, 3) for name, value in named.items() if not math.isnan(value)}
    for peer, lane in (("study", lanes[1]), ("hf", lanes[2])):
        matched = lanes[0].seconds_to_match(lane.best.on_grid)
        found[f"seconds_to_match_{peer}"] = matched and round(matched, 1)
        found[f"speedup_vs_{peer}"] = matched and round(seconds / matched, 1)
    return found


if __name__ == "__main__":
    main()
