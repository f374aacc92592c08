"""Can I believe it? The tables of a run to one honest first line and five answers, in words.

In: the tables of `metrics.json` and `judgement.json`, in which figures may be missing. Out: sentences.
*Carried over* is the share of what a model seems to know of its training pieces, over the bare
frequencies of notes, that holds for music it has not seen: 1 is a model that has learned the music, 0 one
that has learned its pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OVERFITTED = 0.5
"""A model of which less is carried over has learned its pieces more than the music."""
LEARNED = 0.1
"""A model that has saved no more of the cost of its training pieces has not learned enough to overfit."""
FEW_WORKS = 5
"""Intervals over fewer held-out works are rough."""
NETWORK, MARKOV, UNIGRAM, UNIFORM = MODELS = "network", "markov", "unigram", "uniform"

Table = Mapping[str, Any]


@dataclass(frozen=True)
class FirstLine:
    """What a reader has to know first, gravest first; `alarm` if the run is not to be trusted as it stands."""

    alarm: bool
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True)
class Answer:
    """To one question: in a word, and in sentences; `good` is None where it cannot be said."""

    good: bool | None
    short: str
    text: str


def figure(part: Table | None, key: str, model: str = NETWORK) -> float:
    """One figure of a model on one part; NaN where it is missing."""
    table = part or {}
    value = (table if model == NETWORK else table.get("baselines", {}).get(model, {})).get(key)
    return math.nan if value is None else float(value)


def held_out(metrics: Table) -> Table | None:
    """The figures of the part that was held out."""
    part: Table | None = metrics[metrics["held_out"]]
    return part


def carried_over(train: Table, held: Table, lossy: bool) -> float:
    """The share of the gain over frequencies that is left on unseen music.

    It may be negative, and is NaN where there was no gain on the training pieces, or where it is unknown.
    """
    key = "nats_per_token" if lossy else "bits_per_note"
    gains = [figure(part, key, UNIGRAM) - figure(part, key) for part in (train, held)]
    return gains[1] / gains[0] if gains[0] > 0 else math.nan


def overfitted(metrics: Table) -> bool:
    """Whether the gain on training pieces is mostly gone on unseen ones."""
    train, held = metrics["train"], held_out(metrics)
    if not (train and held):
        return False
    key = "nats_per_token" if metrics["lossy"] else "bits_per_note"
    learned = figure(train, key) < (1 - LEARNED) * figure(train, key, UNIGRAM)
    return learned and carried_over(train, held, bool(metrics["lossy"])) < OVERFITTED


def first_line(metrics: Table, judgement: Table | None) -> FirstLine:
    """Every alarm in one line, the gravest first; without any, what speaks for the model."""
    alarms = [memory_alarm(metrics), baseline_alarm(metrics), copy_alarm(judgement)]
    if not held_out(metrics):
        alarms[0] = "Nothing was held out, so nothing here says how the model does on unseen music."
    if any(alarms):
        return FirstLine(True, tuple(filter(None, alarms)))
    return FirstLine(False, tuple(praise(metrics, judgement)))


def memory_alarm(metrics: Table) -> str:
    """That the run is overfitted, with the share that is carried over."""
    held = held_out(metrics)
    if not held or not overfitted(metrics):
        return ""
    share = carried_over(metrics["train"], held, bool(metrics["lossy"]))
    kept = f"only {percent(share)} holds" if share >= 0.005 else "nothing holds"
    return f"Overfitted: of what it has learned about its training pieces, {kept} for music it has not seen."


def baseline_alarm(metrics: Table) -> str:
    """That a model without a network does as well; an interval of the difference that holds 0 is a draw."""
    own, markov, unigram = (measured(metrics, model) for model in (NETWORK, MARKOV, UNIGRAM))
    unit = f"{measure(metrics)[1]} on unseen music"
    if own >= unigram:
        return f"It is no better than the bare frequencies of notes: {own:.2f} against {unigram:.2f} {unit}."
    if own >= markov:
        return f"The network does not beat the Markov model: {own:.2f} against {markov:.2f} {unit}."
    interval = lead(metrics)
    if not interval and not metrics["lossy"] and not math.isnan(own - markov) and one_work(metrics):
        return (
            f"That the network beats the Markov model, {own:.2f} against {markov:.2f} {unit}, rests on a single work."
        )
    if interval and interval[0] <= 0:
        return f"The network does not clearly beat the Markov model: {own:.2f} against {markov:.2f} {unit}, a difference that the choice of works can explain."
    return ""


def one_work(metrics: Table) -> bool:
    """Whether a single work was held out, which says nothing of others."""
    return (held_out(metrics) or {}).get("works") == 1


def lead(metrics: Table) -> tuple[float, float] | None:
    """By how many bits per note the network beats the Markov model on unseen music, 95 % interval over works."""
    versus = (held_out(metrics) or {}).get("versus_markov") or {}
    low, high = versus.get("interval") or (None, None)
    return None if low is None or high is None or metrics["lossy"] else (-high, -low)


def measure(metrics: Table) -> tuple[str, str]:
    """The key and the name of the figure by which models are compared."""
    if metrics["lossy"]:
        return "perplexity_per_token", f"perplexity per {token(metrics)}"
    return "bits_per_note", "bits per note"


def measured(metrics: Table, model: str) -> float:
    """That figure on unseen music."""
    return figure(held_out(metrics), measure(metrics)[0], model)


def token(metrics: Table) -> str:
    """What a figure per token counts."""
    return "event" if metrics["unit"] == "event" else "token"


def percent(share: float) -> str:
    """A share as people write it, kept on one line.

    >>> percent(0.784)
    '78\xa0%'
    """
    return f"{100 * share:.0f}\u00a0%"


def copy_alarm(judgement: Table | None) -> str:
    """That pieces repeat training music more than unseen human pieces do."""
    if not judgement or not judgement["originality"]["copied"]:
        return ""
    copied, pieces = judgement["originality"]["copied"], judgement["pieces"]
    return f"It copies: {copied} of {pieces} improvised pieces {'repeats' if copied == 1 else 'repeat'} more of a training piece than any unseen human piece does."


def praise(metrics: Table, judgement: Table | None) -> Iterator[str]:
    """What holds for a model without alarms."""
    held, own, markov = held_out(metrics), measured(metrics, NETWORK), measured(metrics, MARKOV)
    gain = f"{own:.2f} {measure(metrics)[1]}" if not metrics["lossy"] else f"a {measure(metrics)[1]} of {own:.2f}"
    if not math.isnan(markov):
        gain += f", where a Markov model has {markov:.2f}" if metrics["lossy"] else f", {markov - own:.2f} fewer than a Markov model"  # fmt: skip
    yield f"On music it has not seen it needs {gain}."
    share = carried_over(metrics["train"], held, bool(metrics["lossy"])) if metrics["train"] and held else math.nan
    if not math.isnan(share):
        yield f"Of what it knows about its training pieces, {percent(min(1, share))} holds there too."
    if judgement and judgement["originality"]["yardstick"]:
        yield f"Beside unseen human music, none of {judgement['pieces']} improvised pieces copies."


def fairly_tested(metrics: Table, by_work: bool) -> Answer:
    """Was it tested on music it had not seen?"""
    if not held_out(metrics):
        return Answer(False, "No.", "Nothing was kept apart: whatever is measured here is measured on music it knows.")
    if not by_work:
        return Answer(False, "Only in part.", "The split is by file: another performance of a held-out piece may have been learned, and then the figures flatter.")  # fmt: skip
    few = (held_out(metrics) or {}).get("works", FEW_WORKS)
    rough = (
        f" Only {few} work{'s were' if few > 1 else ' was'} held out: other works could give quite other figures."
        if few < FEW_WORKS
        else ""
    )
    apart = "Pieces are grouped into works by what is played, whatever their names, keys and tempos, and no work is on both sides."
    if metrics["fine_tuned"]:
        return Answer(None, "Only in part.", f"{apart} What the model it began from had seen, nobody knows here.")
    if folds := metrics.get("folds"):
        return Answer(True, "Yes.", f"{apart} There are few works, so {folds} models each learned all folds but one and were tested on that one. The model delivered here learned everything, for as long as the folds found best; how long a fold's own model learned was decided by the other folds.{rough}")  # fmt: skip
    if metrics["held_out"] != "test":
        return Answer(None, "Only in part.", f"{apart} But the held-out works also chose the best step, which flatters a little; there were too few for a test of their own.")  # fmt: skip
    choice = "Validation works chose the step that was kept. The test works were scored once, at the end, and chose nothing." if metrics["validation"] else "The last step was kept, and the test works chose nothing."  # fmt: skip
    return Answer(True, "Yes.", f"{apart} {choice}{rough}")


def remembered(metrics: Table) -> Answer:
    """Is it more than memory? What the model would have claimed on its training pieces, and the difference in words."""
    text = gap_in_words(metrics)
    if not text:
        return Answer(None, "Not measured.", "There is no pair of figures to compare.")
    if overfitted(metrics):
        return Answer(False, "Hardly.", f"{text} More works help most, then a smaller model or fewer minutes.")
    if math.isnan(carried_over(metrics["train"], held_out(metrics) or {}, bool(metrics["lossy"]))):
        return Answer(
            None, "Not known.", f"{text} It has not learned its training pieces beyond the frequencies of notes."
        )
    return Answer(True, "Yes.", text)


def gap_in_words(metrics: Table) -> str:
    """What the same model would have claimed on its training pieces, and what the difference is."""
    train, held = metrics["train"], held_out(metrics)
    if not (train and held):
        return ""
    low, high = (figure(part, "perplexity_per_token") for part in (train, held))
    claim = f"a perplexity of {low:.2f} per {token(metrics)} instead of {high:.2f}"
    if not metrics["lossy"]:
        claim = f"{figure(train, 'bits_per_note'):.2f} bits per note instead of {figure(held, 'bits_per_note'):.2f} ({claim})"  # fmt: skip
    claim = f"Judged on its own training pieces, this model would claim {claim}."
    if low >= high:
        return f"{claim} There is no gap to explain: unseen music is no harder for it."
    share = carried_over(train, held, bool(metrics["lossy"]))
    if math.isnan(share):
        return f"{claim} That difference is memory of those pieces."
    left = percent(min(share, 1)) if share >= 0.005 else "nothing"
    return f"{claim} That difference is memory of those pieces. On unseen music, {left} of its lead over the bare frequencies of notes is left."


def beats(metrics: Table) -> Answer:
    """Does it beat simple models?"""
    own, markov, unigram = (measured(metrics, model) for model in (NETWORK, MARKOV, UNIGRAM))
    if alarm := baseline_alarm(metrics):
        advice = (
            ""
            if overfitted(metrics)
            else " More music helps most; more minutes only if the curve below still falls at its end."
        )
        if own < min(markov, unigram):
            return (
                Answer(None, "Not known.", alarm)
                if one_work(metrics)
                else Answer(False, "Not clearly.", alarm + advice)
            )
        return Answer(False, "No.", alarm + advice)
    if math.isnan(own) or math.isnan(markov):
        return Answer(None, "Not measured.", "There is no figure of a Markov model on unseen music to compare with.")
    unit = measure(metrics)[1]
    text = f"{unit.capitalize()} on unseen music: {own:.2f} for the network, {markov:.2f} for a Markov model, {unigram:.2f} for the bare frequencies of notes."
    if interval := lead(metrics):
        text += f" With other works of the same kind, its lead over the Markov model would lie between {interval[0]:.2f} and {interval[1]:.2f} (95\u00a0%)."
    return Answer(True, "Yes.", text)


def copies(judgement: Table | None) -> Answer:
    """Did it copy?"""
    if not judgement:
        return Answer(None, "Not measured.", "No improvised piece was compared with the training pieces.")
    original = judgement["originality"]
    if original["copied"]:
        return Answer(False, "Yes.", original["text"])
    return Answer(True, "No.", original["text"]) if original["yardstick"] else Answer(None, "Not known.", original["text"])  # fmt: skip


def sounds(judgement: Table | None) -> Answer:
    """Does it sound like the corpus? By the share of features that are as near as unseen human music."""
    if not judgement:
        return Answer(None, "Not measured.", "No improvised piece was compared with the music of the corpus.")
    fidelity = judgement["fidelity"]
    measured_both = [
        one for one in fidelity["features"] if not math.isnan(figure(one, "generated") + figure(one, "floor_high"))
    ]
    inside = [one["inside"] for one in measured_both]
    if not inside:
        return Answer(None, "Not known.", fidelity["text"])
    share = sum(inside) / len(inside)
    short = "Yes." if share == 1 else "Mostly." if share >= 0.5 else "Not yet."
    return Answer(share >= 0.5, short, fidelity["text"])
