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
TAIL = 4.0
"""Kernel widths beyond the outermost distances."""
NARROWEST = 0.01
"""Kernel width, as a share of the span of all distances, where (nearly) all distances of a set are equal."""
LEAST = 1e-12
"""Probability below which a point of the grid counts as this, so that the divergence is finite."""


def distances_within(rows: Floats) -> Floats:
    """Between every piece and every other of the same set, both ways round."""
    return distances_between(rows, rows)[~np.eye(len(rows), dtype=bool).ravel()]


def distances_between(rows: Floats, others: Floats) -> Floats:
    """Between every piece of one set and every piece of another."""
    return np.sqrt(((rows[:, None] - others[None]) ** 2).sum(axis=2)).ravel()


def overlap(within: Floats, between: Floats) -> tuple[float, float]:
    """Overlapped area, and the divergence of `between` from `within`; NaN where a set has no distances.

    >>> overlap(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    (1.0, 0.0)
    """
    if not len(within) or not len(between):
        return np.nan, np.nan
    low, high = min(within.min(), between.min()), max(within.max(), between.max())
    if high - low <= 1e-9 * max(1.0, high):
        return 1.0, 0.0
    widths = [kernel_width(values, NARROWEST * (high - low)) for values in (within, between)]
    grid = np.linspace(low - TAIL * max(widths), high + TAIL * max(widths), POINTS)
    one, other = (
        np.maximum(density(values, width, grid) * (grid[1] - grid[0]), LEAST)
        for values, width in zip((within, between), widths, strict=True)
    )
    one, other = one / one.sum(), other / other.sum()
    return float(np.minimum(one, other).sum()), float((one * np.log(one / other)).sum())


def kernel_width(values: Floats, least: float) -> float:
    """Scott's rule."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return max(spread * len(values) ** -0.2, least)


def density(values: Floats, width: float, grid: Floats) -> Floats:
    """A sum of Gaussian kernels, per unit of distance."""
    kernels = np.exp(-0.5 * ((grid[:, None] - values[None]) / width) ** 2)
    return kernels.sum(axis=1) / (len(values) * width * np.sqrt(2 * np.pi))
