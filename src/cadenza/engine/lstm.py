"""One row through LSTM layers, in compiled loops.

Shapes: A lanes that read, L lanes in all, N layers, D width, I width of what enters the first layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cadenza.compiling import in_order
from cadenza.engine.embedding import embed
from cadenza.engine.kernels import Floats, put, sigmoid
from cadenza.engine.matrices import Linear, linear, rows_of


class Layers(NamedTuple):
    """`first` takes (x, h) of shape I + D, `others` take D + D; columns are gates: in, forget, cell, out."""

    first: Linear
    others: Linear


class Memory(NamedTuple):
    """Hidden and cell vectors, shape (N, L, D)."""

    hidden: Floats
    cell: Floats


class LSTM(NamedTuple):
    """All of it."""

    layers: Layers
    memory: Memory


@in_order
def read(held, lanes_A, rows_AF, context_AC):
    """A row in each of these lanes; the output of the last layer stays."""
    room, layers, memory = held.room, held.trunk.layers, held.trunk.memory
    count, width, inside = lanes_A.shape[0], held.last.hidden.shape[1], held.embedding.tables.shape[1]
    hidden_AD, x_AI = held.last.hidden[:count], rows_of(room.mixed, count, inside)
    embed(held.embedding, held.last, lanes_A, rows_AF, context_AC, x_AI)
    gates_AO = rows_of(room.wide, count, 4 * width)
    for n in range(memory.hidden.shape[0]):
        enters = inside if n == 0 else width
        both_AK = rows_of(room.inner, count, enters + width)
        for a in range(count):
            put(x_AI[a] if n == 0 else hidden_AD[a], both_AK[a])
            put(memory.hidden[n, lanes_A[a]], both_AK[a, enters:])
        if n == 0:
            linear(both_AK, layers.first, 0, 0, room, gates_AO)
        else:
            linear(both_AK, layers.others, n - 1, 0, room, gates_AO)
        for a in range(count):
            hidden_D, cell_D = memory.hidden[n, lanes_A[a]], memory.cell[n, lanes_A[a]]
            turn_gates(gates_AO[a], cell_D, hidden_D, room.normed[:width], room.bits)
            put(hidden_D, hidden_AD[a])


@in_order
def turn_gates(gates_O, cell_D, hidden_D, room_D, bits):
    """New cell and hidden vectors; tanh(x) = 2 sigmoid(2 x) - 1."""
    width = cell_D.shape[0]
    for d in range(2 * width, 3 * width):
        gates_O[d] *= np.float32(2)
    sigmoid(gates_O, bits)
    for d in range(width):
        fresh = np.float32(2) * gates_O[2 * width + d] - np.float32(1)
        cell_D[d] = gates_O[width + d] * cell_D[d] + gates_O[d] * fresh
        room_D[d] = np.float32(2) * cell_D[d]
    sigmoid(room_D, bits)
    for d in range(width):
        hidden_D[d] = gates_O[3 * width + d] * (np.float32(2) * room_D[d] - np.float32(1))
