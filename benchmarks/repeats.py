"""What a piece repeats: the row that came next where the latest rows stood before.

In: rows (N, F). Out: rows (N, F), -1 where there was no such place. Chorales sing their first lines twice, so
a network that is told need not find out by itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def after_matches(rows_NF: Integers, reach: int) -> Integers:
    """After each row, what followed the latest earlier place where the last `reach` rows were the same."""
    found_NF = np.full(rows_NF.shape, -1)
    if len(rows_NF) <= reach:
        return found_NF
    windows_MFR = np.lib.stride_tricks.sliding_window_view(rows_NF, reach, axis=0)
    factors_FR = np.random.default_rng(0).integers(2**62, size=windows_MFR.shape[1:])
    hashes_M = (windows_MFR * factors_FR).sum(axis=(1, 2))  # modulo 2 ** 64: two that differ hardly ever agree
    order = np.argsort(hashes_M, kind="stable")
    same = np.diff(hashes_M[order]) == 0
    now, before = order[1:][same], order[:-1][same]
    found_NF[now + reach - 1] = rows_NF[before + reach]
    return found_NF


def one_hot(numbers_N: Integers, size: int) -> npt.NDArray[np.float32]:
    """Shape (N, size); rows of what is outside are 0."""
    inside = (numbers_N >= 0) & (numbers_N < size)
    return np.eye(size, dtype=np.float32)[np.where(inside, numbers_N, 0)] * inside[:, None]
