"""Piece after piece, the memory stays as it is; `benchmarks/long_haul.py` goes on for longer."""

from pathlib import Path

import pytest

import long_haul


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_pieces(tmp_path: Path) -> None:
    model = long_haul.untrained(tmp_path)
    before, after = long_haul.growth(300, lambda seed: long_haul.write(model, tmp_path, seed, ".mid"))
    assert long_haul.share(before, after) <= 0.05
