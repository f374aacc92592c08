"""Where a run's settings depart from honest evaluation, in words: to be printed and shown, never hidden."""

from __future__ import annotations

from collections.abc import Iterator

from cadenza.models import MODELS
from cadenza.settings import Settings


def broken_rules(settings: Settings) -> Iterator[str]:
    """One sentence for each rule that these settings break; none for the defaults."""
    if settings.tokens.representation == "study":
        yield "The vocabulary is taken from all files, the held-out ones too."
    if settings.corpus.split_by == "file":
        yield "The split is by file, not by work: another performance of a held-out piece may have been learned."
    if not settings.corpus.validation:
        yield "Nothing is held out for validation: the last state is kept, however far it has overfitted, and the test pieces are scored along the way for the curve."
    if settings.model.window and not MODELS[settings.model.trunk][0].bounded:
        yield f"Every {settings.model.window} rows the memory is blank, so a held-out note is judged by little of what came before it."
    if settings.sample.opening:
        yield f"Pieces begin with the first {settings.sample.opening} rows of a training piece."
    if not settings.sample.masks:
        yield "Sampling is not masked: rows that mean nothing can be chosen, and are dropped when they are read."
