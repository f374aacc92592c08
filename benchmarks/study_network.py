"""The study's network and loop as its author would write them, on the rows of the `notes` representation.

Each row becomes a token per scored field, of one vocabulary in which the fields follow each other: four for
a note, one for a rest or the end. Embedding 128, three LSTM layers of 256, dropout 0.3 between the layers
and before the output, a linear layer; Adam at 1e-3 with weight decay 1e-5, batches of 16 windows of 50
tokens at stride 1 in random order, gradients clipped at 1.0, a constant rate. A start token stands before
each piece, so that its first token can be scored like the others.

A held-out token is scored with its full left context: the state is carried through the piece. This is
kinder to the network than the blank windows of 50 tokens that it was trained on. Shapes: B pieces or
windows, T tokens, V ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from cadenza.likelihood import Score
from cadenza.tokens import Rows, Schema
from contestant import TRAIN, Bits, Contestant, Work

WINDOW, BATCH = 50, 16
LANES, CHUNK = 32, 512

Tokens = npt.NDArray[np.int64]


def flatten(schema: Schema, rows: Rows) -> tuple[Tokens, Tokens]:
    """The scored ids of rows, one after the other in one vocabulary, and the field of each."""
    first_ids = np.cumsum([0, *schema.sizes[:-1]])
    scored = schema.scored(rows)
    return (rows + first_ids)[scored], np.nonzero(scored)[1]


class Network(nn.Module):
    """Of `size` ids; the id `size` stands before the first token."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size + 1, 128)
        self.lstm = nn.LSTM(128, 256, 3, batch_first=True, dropout=0.3)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(256, size)

    def forward(self, ids_BT: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # fmt: skip
        hidden_BTD, state = self.lstm(self.embedding(ids_BT), state)
        return self.output(self.dropout(hidden_BTD)), state


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Every window of `WINDOW` tokens and the tokens that follow each of them."""

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        self.tokens = torch.cat(list(pieces))
        ends = np.cumsum([len(piece) for piece in pieces])
        self.begins = np.concatenate(
            [np.arange(end - len(piece), end - WINDOW) for piece, end in zip(pieces, ends, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        begin = int(self.begins[index])
        return self.tokens[begin : begin + WINDOW], self.tokens[begin + 1 : begin + WINDOW + 1]


class StudyNetwork(Contestant):
    """The network and its loop."""

    name = "study's network"

    def __init__(self, work: Work) -> None:
        self.work, self.size = work, sum(work.data.schema.sizes)
        torch.manual_seed(0)
        self.network = self.model = Network(self.size)
        self.windows = Windows([self.tokens(rows) for rows in work.rows(TRAIN)])

    def tokens(self, rows: Rows) -> Tensor:
        """The start and the tokens of a piece."""
        ids = flatten(self.work.data.schema, rows)[0]
        return torch.from_numpy(np.concatenate([[self.size], ids]))

    def training(self, seconds: float) -> Iterator[float]:  # noqa: ARG002
        """A constant rate asks for no plan."""
        tokens_per_note = len(self.windows.tokens) / self.work.notes(TRAIN)
        loader = DataLoader(self.windows, batch_size=BATCH, shuffle=True)
        optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3, weight_decay=1e-5)
        yield 0
        while True:
            for ids_BT, targets_BT in loader:
                self.network.train()
                optimiser.zero_grad()
                logits_BTV, _ = self.network(ids_BT)
                functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten()).backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
                yield ids_BT.numel() / tokens_per_note

    def score(self, part: str) -> Bits:
        schema, rows = self.work.data.schema, self.work.rows(part)
        nats_PF = np.zeros((len(rows), len(schema.fields)))
        longest_first = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        for first in range(0, len(rows), LANES):
            lanes = longest_first[first : first + LANES]
            nats_BT = token_nats(self.network, [self.tokens(rows[index]) for index in lanes])
            for index, nats_T in zip(lanes, nats_BT, strict=True):
                fields = flatten(schema, rows[index])[1]
                nats_PF[index] = np.bincount(fields, nats_T[: len(fields)], minlength=nats_PF.shape[1])
        return Bits.of(Score.of(schema, rows, nats_PF))


@torch.inference_mode()
def token_nats(network: Network, pieces: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    """Nats of every token after the first of each piece, the state carried on; shape (B, T), padded."""
    network.eval()
    tokens_BT, state, found = pad_sequence(list(pieces), batch_first=True), None, []
    for begin in range(0, tokens_BT.shape[1] - 1, CHUNK):
        targets_BT = tokens_BT[:, begin + 1 : begin + CHUNK + 1]
        logits_BTV, state = network(tokens_BT[:, begin : begin + targets_BT.shape[1]], state)
        found.append(functional.cross_entropy(logits_BTV.mT, targets_BT, reduction="none").double().numpy())
    return np.concatenate(found, axis=1)
