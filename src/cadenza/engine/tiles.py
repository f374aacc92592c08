"""The loop inside every product of a matrix and vectors, as LLVM vectors: sums of 32 outputs for one lane or two.

Integers of 16 bits meet weights of 8 in pairs, whose two products x86 adds in one instruction (pmaddwd); LLVM does not
find it in a plain loop. Sums of integers are exact in any order. Floats are added in one order for one lane and two.

Shapes: L lanes, K columns in, S steps of the loop (pairs of columns, or single ones of float32), B = 32 · K / S numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 32
"""Outputs of a tile."""
CHAINS = 2
"""Sums of each output, of every other step: a sum need not wait for the one before."""

VECTOR = 16
VECTORS = BLOCK // VECTOR

BYTE, SHORT, INT, WORD, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


def sums_of(lanes: int) -> Any:
    """A compiled function of x (L, K), weights (S, B) and where the sums go, (lanes · 32,); S is even."""

    @intrinsic
    def sums(typing_context, x_LK, weight_SB, sum_LB):  # noqa: ARG001
        assert {each.layout for each in (x_LK, weight_SB, sum_LB)} == {"C"}, "the loop counts on neighbours"

        def emit(context, builder, signature, arguments):
            x, weight, out = (
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, arguments, strict=True)
            )
            paired = signature.args[1].dtype == types.int8
            steps, row = (cgutils.unpack_tuple(builder, each.shape)[k] for each, k in ((weight, 0), (x, 1)))
            row = builder.lshr(row, WORD(1)) if paired else row
            target = context.codegen().magic_tuple()
            made = loop(builder, target, lanes, paired, x.data, row, weight.data, steps)
            place = builder.bitcast(out.data, made[0].type.as_pointer())
            for k, each in enumerate(made):
                builder.store(each, builder.gep(place, [WORD(k)]), align=4)
            return context.get_dummy_value()

        return types.void(x_LK, weight_SB, sum_LB), emit

    return sums


def loop(builder, target, lanes, paired, x, row, weight, steps):
    """Code for the steps; returns the vectors of sums, those of a lane one after the other."""
    number = INT if paired else FLOAT
    zero = ir.Constant(ir.VectorType(number, VECTOR), None)
    x = builder.bitcast(x, number.as_pointer())
    taken = ir.VectorType(BYTE, 2 * VECTOR) if paired else zero.type
    weight = builder.bitcast(weight, taken.as_pointer())
    kept = [cgutils.alloca_once_value(builder, zero) for _ in range(CHAINS * lanes * VECTORS)]
    for place in kept:
        builder.store(zero, place)
    with cgutils.for_range(builder, builder.lshr(steps, WORD(CHAINS // 2)), intp=WORD) as turn:
        for chain in range(CHAINS):
            step = builder.add(builder.mul(turn.index, WORD(CHAINS)), WORD(chain))
            weights = [read_weights(builder, weight, step, v) for v in range(VECTORS)]
            for lane in range(lanes):
                value = everywhere(builder, x, builder.add(builder.mul(row, WORD(lane)), step))
                for v, some in enumerate(weights):
                    place = kept[(lane * VECTORS + v) * CHAINS + chain]
                    builder.store(add_product(builder, target, builder.load(place), some, value), place)
    add = builder.add if paired else builder.fadd
    return [add(builder.load(one), builder.load(other)) for one, other in zip(kept[::2], kept[1::2], strict=True)]


def read_weights(builder, weight, step, vector):
    """16 floats, or 16 pairs of bytes made wide."""
    place = builder.gep(weight, [builder.add(builder.mul(step, WORD(VECTORS)), WORD(vector))])
    found = builder.load(place, align=1)
    paired = found.type.element == BYTE
    return builder.sext(found, ir.VectorType(SHORT, 2 * VECTOR)) if paired else found


def everywhere(builder, x, place):
    """A float, or a pair of integers that lie as one, in every place of a vector."""
    value = builder.load(builder.gep(x, [place]), align=2)
    none = ir.Constant(ir.VectorType(value.type, VECTOR), ir.Undefined)
    first = builder.insert_element(none, value, INT(0))
    spread = builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(INT, VECTOR), None))
    return builder.bitcast(spread, ir.VectorType(SHORT, 2 * VECTOR)) if value.type == INT else spread


def add_product(builder, target, total, weights, x):
    if total.type.element == FLOAT:
        return builder.fadd(total, builder.fmul(weights, x, flags=("contract",)), flags=("contract",))
    return builder.add(total, pair_products(builder, target, weights, x))


def pair_products(builder, target, one, other):
    """Of vectors of int16 the products, those of a pair added: by the instruction for it, where the processor has one."""
    triple, _, features = target
    count = one.type.count
    widest = 32 if "+avx512bw" in features else 16 if "+avx2" in features else 8
    if not triple.startswith("x86_64"):
        return plain_pair_products(builder, one, other)
    if count > widest:
        halves = [[part(builder, each, range(k, k + count // 2)) for each in (one, other)] for k in (0, count // 2)]
        found = [pair_products(builder, target, *half) for half in halves]
        return builder.shuffle_vector(*found, positions(range(count // 2)))
    name = {32: "llvm.x86.avx512.pmaddw.d.512", 16: "llvm.x86.avx2.pmadd.wd", 8: "llvm.x86.sse2.pmadd.wd"}[count]
    kind = ir.FunctionType(ir.VectorType(INT, count // 2), [one.type, other.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [one, other])


def plain_pair_products(builder, one, other):
    wide = ir.VectorType(INT, one.type.count // 2)
    products = []
    for first in (0, 1):
        values = [builder.sext(part(builder, each, range(first, one.type.count, 2)), wide) for each in (one, other)]
        products.append(builder.mul(*values))
    return builder.add(*products)


def part(builder, vector, places):
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), positions(places))


def positions(places):
    return ir.Constant(ir.VectorType(INT, len(places)), [INT(place) for place in places])


one_lane, two_lanes = sums_of(1), sums_of(2)
