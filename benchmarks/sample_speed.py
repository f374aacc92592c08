"""Notes improvised per second, against peers, on the same two cores.

Ours is the default network after a minute of training on the violin corpus (`split_by_piece.csv`), at its default
settings, masks and all, in int8; the peers are in float32. The study's loop (`study_network.py`) reads its last 50 tokens anew for each token, as its
author wrote it. GPT-2 of as many parameters on MidiTok's TSD tokens (`gpt2.py`) samples by Hugging Face's `generate` with
its cache, 500 tokens from BOS. A peer's tokens count as notes by how many tokens a note takes in the training
pieces; how it was trained makes no difference to its speed, so it is not. All work in turn, and the best round of each
counts. `novel` and `repeats` are the further time, as a share, that the rules on phrases take: no more than 16 notes on
end of the training pieces, and phrases of 16 notes heard again 4 times at most; reading the training pieces once is apart.

The roofline of one lane is the time of one product of a vector and a matrix with as many weights as all of ours, by the
faster of two: ours in int8 on one thread, which is what a lane has, and PyTorch's in float32 on all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from cadenza import engine
from cadenza.ending import Length
from cadenza.engine.kernels import Floats, floats
from cadenza.engine.matrices import Room, linear
from cadenza.engine.packing import Packing, Weights
from cadenza.notes import TimeBase
from cadenza.phrases.loops import Loops
from cadenza.phrases.novelty import Novelty
from cadenza.presets import build
from cadenza.sample import Reader, sample
from cadenza.settings import INNOCENT, SampleSettings
from cadenza.tokens import Rule, Ruled
from cadenza.tokens.note_rows import NoteRows
from contestant import TRAIN, Work
from gpt2 import GPT2
from ours import Ours
from study_network import WINDOW, StudyNetwork
from timing import give_up, needs, parser, report

THREADS, TRAINED_SECONDS, ROUNDS = 2, 60.0, 5
ROWS, MANY = 500, 64
PHRASE, REPEATS = SampleSettings().phrase, 4
STUDY_TOKENS = 100
TOKENS = 500
PRODUCTS = 500
LOOKED_UP = ("trunk.embed.", "heads.given.", "heads.moved.")
"""Tables, of which a row is added and the rest left alone."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS, help="measured rounds")
    given = options.parse_args()
    if given.rounds < 1:
        give_up("--rounds must be more than 0, for example --rounds 5.")
    needs(("miditok", "transformers"))
    torch.set_num_threads(THREADS)
    work = Work.read(given.data)
    ours = Ours("cadenza small", build("small", train={"minutes": TRAINED_SECONDS / 60}), work)
    weights, study, gpt2 = trained(ours), StudyNetwork(work), Peer(work, ours.parameters)
    reader = engine.reader(weights, ours.settings.model, work.data.schema, threads=THREADS)
    matrix_OK = one_matrix(weights, ours.settings.model.width)
    tokens = NoteRows(TimeBase())
    novel = [Novelty(tokens, [tokens.decode(rows) for rows in work.rows(TRAIN)], INNOCENT)]
    repeats = [Loops(tokens, PHRASE, REPEATS)]
    ways = {
        "single": lambda: improvise(reader, 1),
        "batch64": lambda: improvise(reader, MANY),
        "novel_single": lambda: improvise(reader, 1, novel),
        "novel_batch64": lambda: improvise(reader, MANY, novel),
        "repeats_single": lambda: improvise(reader, 1, repeats),
        "repeats_batch64": lambda: improvise(reader, MANY, repeats),
        "study": lambda: study_notes(study),
        "hf_single": lambda: gpt2.notes(1),
        "hf_batch64": lambda: gpt2.notes(MANY),
        "product_int8": product_in_int8(matrix_OK),
        "product_float32": product_in_float32(matrix_OK),
    }
    rates = best_rates(ways, given.rounds)
    report(
        [f"{name:<12} {rate:>10,.0f} notes per second" for name, rate in rates.items()],
        {
            "single_notes_per_second": round(rates["single"]),
            "batch64_notes_per_second": round(rates["batch64"]),
            "ratio_single_vs_study": round(rates["single"] / rates["study"], 1),
            "ratio_single_vs_hf": round(rates["single"] / rates["hf_single"], 1),
            "ratio_batch_vs_hf": round(rates["batch64"] / rates["hf_batch64"], 1),
            "share_of_roofline": round(rates["single"] / max(rates["product_int8"], rates["product_float32"]), 2),
        }
        | {
            f"{rule}_{lanes}": round(rates[lanes] / rates[f"{rule}_{lanes}"] - 1, 3)
            for rule in ("novel", "repeats")
            for lanes in ("single", "batch64")
        },
    )


def trained(ours: Ours) -> Weights:
    """The network after a minute."""
    for _ in ours.training(TRAINED_SECONDS):
        pass
    return {name: tensor.numpy() for name, tensor in ours.model.state_dict().items()}


def one_matrix(weights: Weights, width: int) -> Floats:
    """As many numbers as the matrices have that a row goes through, in rows of `width`."""
    size = sum(each.size for name, each in weights.items() if each.ndim == 2 and not name.startswith(LOOKED_UP))
    return np.random.default_rng(0).normal(size=(size // width, width)).astype(np.float32)


def product_in_int8(matrix_OK: Floats) -> Callable[[], float]:
    outside = len(matrix_OK)
    layer, room = Packing({}, small=True).matrix(matrix_OK, floats(outside)), Room.for_lanes(1, outside, small=True)
    x_1K, out_1O = matrix_OK[:1].copy(), floats(1, outside)

    def products() -> float:
        for _ in range(PRODUCTS):
            linear(x_1K, layer, 0, 0, room, out_1O)
        return PRODUCTS

    return products


def product_in_float32(matrix_OK: Floats) -> Callable[[], float]:
    matrix, x = torch.from_numpy(matrix_OK), torch.from_numpy(matrix_OK[0].copy())

    def products() -> float:
        for _ in range(PRODUCTS):
            torch.mv(matrix, x)
        return PRODUCTS

    return products


def improvise(reader: Reader, count: int, wishes: Sequence[Rule] = ()) -> float:
    """The notes made until every piece has ended or has `ROWS` of them."""
    tokens = NoteRows(TimeBase())
    made = sample(
        reader,
        tokens,
        Ruled(tokens.grammar(), wishes=wishes) if wishes else tokens.grammar(),
        SampleSettings(rows=ROWS),
        items=range(count),
        seed=0,
        length=Length(),
        prompt=np.empty((0, 4), np.int16),
    )
    return sum(step.row[0] < tokens.rest for step in made)


def best_rates(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Notes per second of the best round of each, after one unmeasured round."""
    rates = dict.fromkeys(ways, 0.0)
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            notes = way()
            rate = notes / (time.perf_counter() - begin)
            if number:
                rates[name] = max(rates[name], rate)
    return rates


@torch.inference_mode()
def study_notes(study: StudyNetwork) -> float:
    """The last 50 tokens read anew for every token."""
    study.network.eval()
    tokens = study.windows.tokens[:WINDOW].tolist()
    for _ in range(STUDY_TOKENS):
        logits_BTV, _ = study.network(torch.tensor([tokens[-WINDOW:]]))
        tokens.append(int(torch.multinomial(torch.softmax(logits_BTV[0, -1], dim=-1), 1)))
    return STUDY_TOKENS * study.work.notes(TRAIN) / len(study.windows.tokens)


class Peer:
    """Hugging Face's sampling of GPT-2 with so many parameters."""

    def __init__(self, work: Work, parameters: int) -> None:
        self.gpt2 = GPT2(work, parameters)
        self.share = work.notes(TRAIN) / sum(map(len, self.gpt2.tokens(TRAIN)))
        self.generate: Callable[..., torch.Tensor] = self.gpt2.model.eval().generate  # type: ignore[assignment]
        self.start = int(self.gpt2.pieces[0][0])

    @torch.inference_mode()
    def notes(self, count: int) -> float:
        made = self.generate(
            torch.full((count, 1), self.start),
            do_sample=True,
            use_cache=True,
            min_new_tokens=TOKENS,
            max_new_tokens=TOKENS,
            pad_token_id=0,
            eos_token_id=None,
        )
        return made[:, 1:].numel() * self.share


if __name__ == "__main__":
    main()
