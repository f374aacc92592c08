"""The next row of each lane, in compiled loops: a field's logits, its choice, then the next field's.

Shapes: A lanes that read, F fields, V ids of a field, S ids of all fields, one field's after another's.
"""

from __future__ import annotations

import numpy as np

from cadenza.compiling import in_order
from cadenza.engine.choice import choose_id, room_for
from cadenza.engine.heads import field_logits


@in_order
def choose_fields(held, first, end, rows_AF, allowed_AS, draws_AF, controls_F4, open_A, nats_A, removed_A):
    """Chooses the fields from `first` up to `end` of the rows that are open, and adds up nats and what masks took.

    Returns the least id; a negative one stands for no choice, after which nothing more is chosen.
    """
    worst, sizes = np.int64(0), held.embedding.sizes
    begin = sizes[:first].sum()
    for f in range(first, end):
        temperature, top_k, top_p, min_p = controls_F4[f]
        logits_AV, room = np.empty((len(rows_AF), sizes[f]), np.float32), room_for(sizes[f])
        field_logits(held, f, rows_AF, logits_AV)
        allowed_AV = allowed_AS[:, begin : begin + sizes[f]]
        for a in np.flatnonzero(open_A):
            chosen, nats, removed = choose_id(
                logits_AV[a], allowed_AV[a], draws_AF[a, f], temperature, np.int64(top_k), top_p, min_p, room
            )
            rows_AF[a, f], worst = chosen, min(worst, chosen)
            nats_A[a] += nats
            removed_A[a] += removed
        if worst < 0:
            break
        begin += sizes[f]
    return worst
