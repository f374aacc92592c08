"""How alike are two sets of pieces, by the distances between their members?

After Yang & Lerch (2020), On the evaluation of generative models in music, Neural Computing and
Applications 32. In: for one feature, a row per piece (its histogram, or its one value). Out: the overlapped
area (0…1, higher is more alike) and the Kullback–Leibler divergence (nats, lower is more alike) of two
densities: of Euclidean distances within the reference, and between the other set and the reference.

Densities are sums of Gaussian kernels of Scott's width. Both stand on one grid that covers both with
their tails; the authors' program evaluates each on the range of its own distances before it compares
them point by point, so its divergence compares densities at different distances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POINTS = 400
TAIL = 5.0
"""Kernel widths beyond the outermost distances."""
NARROWEST = 0.01
"""Kernel width, as a share of the span of all distances, where (nearly) all distances of a set are equal."""


def distances_within(rows: Floats) -> Floats:
    """Between every piece and every other of the same set, both ways round."""
    return distances_between(rows, rows)[~np.eye(len(rows), dtype=bool).ravel()]


def distances_between(rows: Floats, others: Floats) -> Floats:
    """Between every piece of one set and every piece of another."""
    return np.sqrt(((rows[:, None] - others[None]) ** 2).sum(axis=2)).ravel()


def overlap_of(within: Floats, between: Floats) -> tuple[float, float]:
    """Overlapped area, and the divergence of `between` from `within`; NaN where a set has no distances.

    >>> overlap_of(np.array([1.0, 1.0]), np.array([1.0, 1.0, 1.0]))
    (1.0, 0.0)
    """
    if not len(within) or not len(between):
        return np.nan, np.nan
    low, high = min(within.min(), between.min()), max(within.max(), between.max())
    if high - low <= 1e-9 * max(1.0, high):
        return 1.0, 0.0
    widths = [kernel_width(values, NARROWEST * (high - low)) for values in (within, between)]
    grid = np.linspace(low - TAIL * max(widths), high + TAIL * max(widths), POINTS)
    one, other = (log_density(values, width, grid) for values, width in zip((within, between), widths, strict=True))
    step = grid[1] - grid[0]
    area = np.exp(np.minimum(one, other)).sum() * step
    divergence = (np.exp(one) * (one - other)).sum() * step
    return min(1.0, float(area)), max(0.0, float(divergence))


def kernel_width(values: Floats, least: float) -> float:
    """Scott's rule."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return max(spread * len(values) ** -0.2, least)


def log_density(values: Floats, width: float, grid: Floats) -> Floats:
    """Log of a sum of Gaussian kernels, per unit of distance; finite however far the values are."""
    exponent = -0.5 * ((grid[:, None] - values[None]) / width) ** 2
    highest = exponent.max(axis=1)
    total = np.log(np.exp(exponent - highest[:, None]).sum(axis=1)) + highest
    return total - np.log(len(values) * width * np.sqrt(2 * np.pi))
