"""Pictures: piano rolls, learning curves, and what a collection and its improvisations are made of.

In: notes and plain numbers. Out: matplotlib figures, and SVG or PNG bytes of them.
"""

from cadenza.plot.corpus import pitches, sequence_lengths, velocities
from cadenza.plot.curves import learning_curve
from cadenza.plot.events import event_types, token_frequencies
from cadenza.plot.fidelity import feature_distances
from cadenza.plot.models import compare_models
from cadenza.plot.passages import aligned_rolls, passage_seconds
from cadenza.plot.roll import ROLL_LEFT, ROLL_RIGHT, clock, piano_roll, shown_seconds
from cadenza.plot.temperature import temperature_analysis
from cadenza.plot.theme import to_bytes
from cadenza.plot.tuning import tuning

__all__ = [
    "ROLL_LEFT",
    "ROLL_RIGHT",
    "aligned_rolls",
    "clock",
    "compare_models",
    "event_types",
    "feature_distances",
    "learning_curve",
    "passage_seconds",
    "piano_roll",
    "pitches",
    "sequence_lengths",
    "shown_seconds",
    "temperature_analysis",
    "to_bytes",
    "token_frequencies",
    "tuning",
    "velocities",
]
