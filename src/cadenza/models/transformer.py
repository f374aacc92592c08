"""A stack of transformer blocks (Vaswani et al., 2017) as they are built since.

Norms come before each half of a block (Xiong et al., 2020) and are of root mean square (Zhang & Sennrich, 2019),
positions are rotations of queries and keys (RoFormer: Su et al., 2021), the second half is a gated MLP
(Shazeer, 2020), and nothing has a bias. Every row attends to itself and the `window` - 1 rows before it (Child
et al., 2019), in training and in sampling alike; what lies further back reaches it through the layers only.

Shapes: B pieces, T rows, S rows in sight (those remembered, then T), F fields, C context columns,
D width, H heads of d = D / H columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadenza.models.contract import Dropout, GatedMLP, RowEmbedding, State, Trunk
from cadenza.settings import HEAD_WIDTH, ModelSettings

MLP_RATIO, MLP_MULTIPLE = 8 / 3, 64
"""Columns inside the MLP for each of the width, rounded up: three matrices hold what two of four times the width would."""
QUERIES = 128
"""Rows attended from at once under a window: little of what is out of sight is computed."""
SLOWEST = 10_000
"""Rows for the slowest rotation to turn by one radian."""


class TransformerTrunk(Trunk):
    """State: keys and values of the last `window` - 1 rows in each layer, keys before rotation."""

    bounded = True

    def __init__(self, settings: ModelSettings, sizes: Sequence[int], context_width: int) -> None:
        super().__init__()
        self.embed = RowEmbedding(sizes, context_width, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.RMSNorm(settings.width)
        self.dropout = Dropout(settings.dropout)

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State) -> tuple[Tensor, State]:
        x_BTD = self.dropout(self.embed(ids_BTF, context_BTC))
        memories = [None] * len(self.blocks) if state is None else state
        known = 0 if state is None else state[0][0].shape[2]
        turns_Sc = rotations(known + x_BTD.shape[1], HEAD_WIDTH, x_BTD.device)
        after = []
        for block, memory in zip(self.blocks, memories, strict=True):
            x_BTD, memory = block(x_BTD, turns_Sc, memory)
            after.append(memory)
        return self.norm(x_BTD), after


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        width, hidden = settings.width, MLP_MULTIPLE * math.ceil(MLP_RATIO * settings.width / MLP_MULTIPLE)
        self.window = settings.window
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.mlp = GatedMLP(width, hidden)
        self.dropout = Dropout(settings.dropout)
        for layer in (self.query_key_value, self.mlp.gate_up, self.mix, self.mlp.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        for layer in (self.mix, self.mlp.down):  # their sum over the layers is as large as one (Radford et al., 2019)
            layer.weight.data /= math.sqrt(2 * settings.layers)

    def forward(self, x_BTD: Tensor, turns_Sc: Tensor, memory: State) -> tuple[Tensor, State]:
        mixed_BTD, memory = self.attention(self.norm_attention(x_BTD), turns_Sc, memory)
        x_BTD = x_BTD + self.dropout(self.mix(mixed_BTD))
        return x_BTD + self.dropout(self.mlp(self.norm_mlp(x_BTD))), memory

    def attention(self, x_BTD: Tensor, turns_Sc: Tensor, memory: State) -> tuple[Tensor, State]:
        q_BHTd, k_BHSd, v_BHSd = self.query_key_value(x_BTD).unflatten(-1, (3, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        if memory is not None:
            k_BHSd, v_BHSd = (torch.cat(pair, dim=2) for pair in zip(memory, (k_BHSd, v_BHSd), strict=True))
        known = k_BHSd.shape[2] - q_BHTd.shape[2]
        mixed_BHTd = attend(rotate(q_BHTd, turns_Sc[known:]), rotate(k_BHSd, turns_Sc), v_BHSd, self.window)
        kept = slice(max(0, k_BHSd.shape[2] - self.window + 1), None)
        return mixed_BHTd.transpose(1, 2).flatten(2), (k_BHSd[:, :, kept], v_BHSd[:, :, kept])


def rotations(rows: int, columns: int, device: torch.device) -> Tensor:
    """Each row's turns, as complex numbers of length one, shape (S, d / 2)."""
    speed_c = SLOWEST ** (-torch.arange(0, columns, 2, device=device) / columns)
    angle_Sc = torch.arange(rows, device=device)[:, None] * speed_c
    return torch.polar(torch.ones_like(angle_Sc), angle_Sc)


def rotate(x_BHTd: Tensor, turns_Tc: Tensor) -> Tensor:
    """Neighbouring columns turned as one complex number by the angles of their row."""
    pairs_BHTc = torch.view_as_complex(x_BHTd.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs_BHTc * turns_Tc).flatten(-2).to(x_BHTd.dtype)


def attend(q_BHTd: Tensor, k_BHSd: Tensor, v_BHSd: Tensor, window: int) -> Tensor:
    """What the last T of S rows take from themselves and the `window` - 1 rows before each of them.

    On a CPU plain products are faster than the fused function, whose backward pass is slow there.
    """
    rows, known = q_BHTd.shape[2], k_BHSd.shape[2] - q_BHTd.shape[2]
    if q_BHTd.is_cuda and not known and rows <= window:
        return functional.scaled_dot_product_attention(q_BHTd, k_BHSd, v_BHSd, is_causal=True)
    q_NTd, k_NSd, v_NSd = q_BHTd.flatten(0, 1), k_BHSd.flatten(0, 1), v_BHSd.flatten(0, 1)
    mixed = []
    for first, q_NQd in zip(range(known, known + rows, QUERIES), q_NTd.split(QUERIES, dim=1), strict=True):
        seen = slice(max(0, first - window + 1), first + q_NQd.shape[1])
        at_Q1 = torch.arange(first, seen.stop, device=q_NTd.device)[:, None]
        at_K = torch.arange(seen.start, seen.stop, device=q_NTd.device)
        unseen_QK = torch.where((at_K <= at_Q1) & (at_K > at_Q1 - window), 0.0, -torch.inf).to(q_NTd.dtype)
        scores_NQK = torch.baddbmm(unseen_QK, q_NQd, k_NSd[:, seen].mT, alpha=q_NQd.shape[-1] ** -0.5)
        mixed.append(torch.bmm(scores_NQK.softmax(dim=-1), v_NSd[:, seen]))
    return torch.cat(mixed, dim=1).view_as(q_BHTd)
