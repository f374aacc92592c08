"""Notes back-propagated per second, against peers of as many parameters.

Our LSTM meets the network and loop of the study that Cadenza began from (`study_network.py`), our
default network GPT-2 on MidiTok's TSD tokens (`gpt2.py`). All take real optimiser steps on the training
pieces of the violin corpus (`split_by_piece.csv`), data loading included, each with its own batches, on the
same two threads, in turn for a few seconds a round; the median round of each counts. A peer's tokens
count as notes by how many tokens a note takes in the training pieces. Ours has its matrix products in
bfloat16 where that is faster, as every run does, and once more in float32, which is what the peers have.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median

import torch

from cadenza.errors import CadenzaError
from cadenza.presets import build
from cadenza.runs.settling import with_values
from contestant import Contestant, Work
from gpt2 import GPT2
from ours import Ours, of_size
from study_network import StudyNetwork
from timing import give_up, needs, parser, report

ROUNDS = 7
ROUND_SECONDS = 5.0
PLANNED_ROUNDS = 10
"""Training is planned to last so many times as long, so that no plan comes to its end; all dropout acts from the start."""
THREADS = 2
LSTM = {"trunk": "lstm", "layers": 3}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="small", help="of Cadenza")
    options.add_argument("--rounds", type=int, default=ROUNDS, help="measured rounds")
    options.add_argument("--threads", type=int, default=THREADS, help="of each contestant in its turn")
    given = options.parse_args()
    if given.rounds < 1 or given.threads < 1:
        give_up("--rounds and --threads must be more than 0, for example --rounds 7 --threads 2.")
    needs(("miditok", "transformers"))
    torch.set_num_threads(given.threads)
    contestants = enter(Work.read(given.data), given.preset)
    lstm, study, ours, full, gpt2 = rates = [median(found) for found in speeds(contestants, given.rounds)]
    report(
        [
            f"{each.name:<16} {each.parameters:>9,} parameters {rate:>9,.0f} notes per second"
            for each, rate in zip(contestants, rates, strict=True)
        ],
        {
            "notes_per_second": round(ours),
            "lstm_notes_per_second": round(lstm),
            "ratio_vs_study": round(lstm / study, 2),
            "ratio_vs_hf": round(ours / gpt2, 2),
            "ratio_vs_hf_float32": round(full / gpt2, 2),
        },
    )


def enter(work: Work, preset: str) -> list[Contestant]:
    """Two pairs of as many parameters: our LSTM and the study's network, the preset and GPT-2."""
    try:
        settings, small = (build(preset, model=model, train={"ramp": False}) for model in ({}, LSTM))
    except CadenzaError as error:
        give_up(str(error))
    study = StudyNetwork(work)
    lstm = Ours("cadenza lstm", of_size(small, study.parameters, work), work)
    ours = Ours(f"cadenza {preset}", settings, work)
    full = Ours(f"{ours.name}, float32", with_values(settings, "train", precision="float32"), work)
    return [lstm, study, ours, full, GPT2(work, ours.parameters)]


def speeds(contestants: Sequence[Contestant], rounds: int) -> list[list[float]]:
    """Notes per second of every round of each contestant, after its plan and one unmeasured round."""
    steps = [each.training(PLANNED_ROUNDS * (rounds + 1) * ROUND_SECONDS) for each in contestants]
    found: list[list[float]] = [[] for _ in steps]
    for each in steps:
        next(each)
    for number in range(rounds + 1):
        for turn in range(len(steps)):
            which = (turn + number) % len(steps)  # nobody always follows the same moment of a round
            found[which].append(speed(steps[which]))
    return [each[1:] for each in found]


def speed(steps: Iterator[float]) -> float:
    """Notes per second for a few seconds."""
    notes, begin = 0.0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < ROUND_SECONDS:
        notes += next(steps)
    return notes / passed


if __name__ == "__main__":
    main()
