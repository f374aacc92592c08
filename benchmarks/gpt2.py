"""What else one would take: MidiTok's TSD tokens in Hugging Face's GPT-2, trained by a plain PyTorch loop.

The tokens are those of `encode.py`: 50 positions a beat at 120 beats a minute, so 10 ms; 32 velocities; time
shifts and durations of up to 4 s. Longer shifts take several tokens; longer durations are clipped, as
those of the `notes` rows are. The grid is 10 ms, so the bits per note are so too.

GPT-2 has the shape of its family (width about 64 times the layers) at a given number of parameters, and as
many positions as it is trained on, so that none lies idle. Training pieces, each between BOS and EOS, lie one after
the other in blocks of 512 tokens; eight blocks are a batch, about as many notes as ours has (more would
leave few steps to a short run). AdamW at 1e-3, weight decay 0.01, a warm-up and a cosine decay to the
end of the budget, dropout 0.1, gradients clipped at 1.0; eager, in float32. Held-out tokens, EOS
included, are scored once each, in windows that overlap by half, so with at least 256 tokens of left context.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, TensorDataset

from cadenza.midi import to_symusic
from contestant import TRAIN, Bits, Contestant, Work

BLOCK, BATCH = 512, 8
SCORED_WINDOWS = 16
HEADS, WIDTH_STEP, LAYERS = 4, 8, range(2, 17)
WIDTH_PER_LAYER = 64
TOLERANCE = 0.03
WARM_UP_SHARE = 0.05
UNMEASURED_STEPS, MEASURED_STEPS = 1, 4


def parameters(vocabulary: int, layers: int, width: int) -> int:
    """How many parameters GPT-2 has; its output shares the weights of its embedding."""
    return (vocabulary + BLOCK + 2) * width + layers * (12 * width**2 + 13 * width)


def shape(vocabulary: int, wanted: int) -> tuple[int, int]:
    """Layers and width of about so many parameters, as near to GPT-2's proportions as these allow."""
    every = [(layers, width) for layers in LAYERS for width in range(WIDTH_STEP, 1025, WIDTH_STEP)]
    near = [each for each in every if abs(parameters(vocabulary, *each) / wanted - 1) <= TOLERANCE]
    return min(near, key=lambda each: abs(math.log(each[1] / each[0] / WIDTH_PER_LAYER)))


def scored_windows(length: int) -> list[tuple[int, int]]:
    """Windows over `length` predictions: where each begins, and its first prediction that counts."""
    half = BLOCK // 2
    return [(0, 0), *((begin, begin + half) for begin in range(half, length - half, half))]


class GPT2(Contestant):
    """The network and its loop."""

    name = "MidiTok, GPT-2"

    def __init__(self, work: Work, wanted: int) -> None:
        """`wanted` parameters, within `TOLERANCE`."""
        from transformers import GPT2Config, GPT2LMHeadModel

        from encode import VIOLIN, miditok

        self.work = work
        tokenizer = miditok()
        start, end = tokenizer["BOS_None"], tokenizer["EOS_None"]
        scores = [to_symusic(piece, VIOLIN) for piece in work.pieces]
        self.pieces = [torch.tensor([start, *tokenizer.encode(score)[0].ids, end]) for score in scores]
        layers, width = shape(len(tokenizer), wanted)
        torch.manual_seed(0)
        self.model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer), n_positions=BLOCK, n_embd=width, n_layer=layers, n_head=HEADS,
                bos_token_id=start, eos_token_id=end, use_cache=False,
            )
        )  # fmt: skip
        assert self.parameters == parameters(len(tokenizer), layers, width)

    def tokens(self, part: str) -> list[Tensor]:
        return [self.pieces[index] for index in self.work.parts[part]]

    def training(self, seconds: float) -> Iterator[float]:
        begin = time.perf_counter()
        stream = torch.cat(self.tokens(TRAIN))
        blocks = TensorDataset(stream[: len(stream) // BLOCK * BLOCK].view(-1, BLOCK))
        loader = DataLoader(blocks, batch_size=BATCH, shuffle=True, drop_last=True)
        pace = seconds_per_step(self.model, loader)
        steps = max(1, round((seconds - (time.perf_counter() - begin)) / pace))
        yield 0
        notes = BATCH * BLOCK * self.work.notes(TRAIN) / len(stream)
        for _ in updates(self.model, loader, steps):
            yield notes

    def score(self, part: str) -> Bits:
        nats = sum(token_nats(self.model, piece) for piece in self.tokens(part))
        return Bits(math.nan, nats / math.log(2) / self.work.notes(part))


def updates(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]], steps: int) -> Iterator[None]:
    """Train for so many steps, one at a time."""
    from transformers import get_cosine_schedule_with_warmup

    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimiser, max(1, round(WARM_UP_SHARE * steps)), steps)
    done = 0
    while True:
        for (ids_BT,) in loader:
            if done == steps:
                return
            model.train()
            optimiser.zero_grad()
            model(input_ids=ids_BT, labels=ids_BT).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            yield


def seconds_per_step(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> float:
    """The median of a few steps of a copy."""
    steps = updates(copy.deepcopy(model), loader, UNMEASURED_STEPS + MEASURED_STEPS)
    times = [time.perf_counter(), *(time.perf_counter() for _ in steps)]
    return float(np.median(np.diff(times)[UNMEASURED_STEPS:]))


@torch.inference_mode()
def token_nats(model: nn.Module, piece: Tensor) -> float:
    """Nats of all tokens after the first."""
    model.eval()
    windows, total = scored_windows(len(piece) - 1), 0.0
    for first in range(0, len(windows), SCORED_WINDOWS):
        chosen: Sequence[tuple[int, int]] = windows[first : first + SCORED_WINDOWS]
        ids_BT = pad_sequence([piece[begin : begin + BLOCK + 1] for begin, _ in chosen], batch_first=True)
        logits_BTV = model(input_ids=ids_BT[:, :-1]).logits
        nats_BT = functional.cross_entropy(logits_BTV.mT, ids_BT[:, 1:], reduction="none").double()
        for nats_T, (begin, counted) in zip(nats_BT, chosen, strict=True):
            total += float(nats_T[counted - begin : len(piece) - 1 - begin].sum())
    return total
