"""Can I believe it? The figures of a run to one honest first line, and the gap in words.

In: the tables of `metrics.json` and `judgement.json`. Out: sentences. *Carried over* is the share of
what a model seems to know of its training pieces, over the bare frequencies of notes, that holds for
music it has not seen: 1 is a model that has learned the music, 0 one that has learned its pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OVERFITTED = 0.5
"""A model of which less is carried over has learned its pieces more than the music."""

Table = Mapping[str, Any]


@dataclass(frozen=True)
class FirstLine:
    """What a reader has to know first; `alarm` if the run is not to be trusted as it stands."""

    alarm: bool
    text: str


def carried_over(train: Table, held: Table, lossy: bool) -> float:
    """The share of the gain over frequencies that is left on unseen music; may be negative."""
    key = "nats_per_token" if lossy else "bits_per_note"
    gains = [part["baselines"]["unigram"][key] - part[key] for part in (train, held)]
    return float(gains[1] / gains[0]) if gains[0] > 0 else 0.0


def overfitted(metrics: Table) -> bool:
    """Whether the gain on training pieces is mostly gone on unseen ones."""
    train, held = metrics["train"], metrics[metrics["held_out"]]
    if not (train and held):
        return False
    key = "nats_per_token" if metrics["lossy"] else "bits_per_note"
    learned = train[key] < train["baselines"]["unigram"][key]
    return learned and carried_over(train, held, bool(metrics["lossy"])) < OVERFITTED


def first_line(metrics: Table, judgement: Table | None) -> FirstLine:
    """Every alarm in one line, the gravest first; without any, what speaks for the model."""
    held = metrics[metrics["held_out"]]
    if not held:
        return FirstLine(True, "Nothing was held out, so nothing here says how the model does on unseen music.")
    alarms = [text for text in (memory_alarm(metrics), baseline_alarm(metrics), copy_alarm(judgement)) if text]
    if alarms:
        return FirstLine(True, " ".join(alarms))
    return FirstLine(False, praise(metrics, judgement))


def memory_alarm(metrics: Table) -> str:
    """That the run is overfitted, with the share that is carried over."""
    if not overfitted(metrics):
        return ""
    share = carried_over(metrics["train"], metrics[metrics["held_out"]], bool(metrics["lossy"]))
    kept = f"only {share:.0%} holds" if share > 0 else "nothing holds"
    return f"Overfitted: of what it seems to know about its training pieces, {kept} for music it has not seen."


def baseline_alarm(metrics: Table) -> str:
    """That a model without a network does as well; an interval of the difference that holds 0 is a draw."""
    held, lossy = metrics[metrics["held_out"]], metrics["lossy"]
    key, unit = (
        ("perplexity_per_token", f"perplexity per {metrics['unit']}") if lossy else ("bits_per_note", "bits per note")
    )
    own, markov, unigram = held[key], held["baselines"]["markov"][key], held["baselines"]["unigram"][key]
    if own >= unigram:
        return f"It is no better than the bare frequencies of notes: {own:.2f} against {unigram:.2f} {unit} on unseen music."
    if own >= markov:
        return f"The network does not beat the Markov model: {own:.2f} against {markov:.2f} {unit} on unseen music."
    interval = (metrics.get("versus_markov") or {}).get("interval")
    if interval and interval[1] >= 0:
        return f"The network does not clearly beat the Markov model: {own:.2f} against {markov:.2f} {unit}, within what the choice of works explains."
    return ""


def copy_alarm(judgement: Table | None) -> str:
    """That pieces repeat training music more than unseen human pieces do."""
    if not judgement or not judgement["originality"]["copied"]:
        return ""
    copied, pieces = judgement["originality"]["copied"], judgement["pieces"]
    return f"It copies: {copied} of {pieces} improvised pieces repeat{'s' if copied == 1 else ''} more of a training piece than any unseen human piece does."


def praise(metrics: Table, judgement: Table | None) -> str:
    """What holds for a model without alarms."""
    held, lossy = metrics[metrics["held_out"]], metrics["lossy"]
    if lossy:
        gain = f"a perplexity of {held['perplexity_per_token']:.2f} per {metrics['unit']}, where a Markov model has {held['baselines']['markov']['perplexity_per_token']:.2f}"
    else:
        fewer = held["baselines"]["markov"]["bits_per_note"] - held["bits_per_note"]
        gain = f"{held['bits_per_note']:.2f} bits per note, {fewer:.2f} fewer than a Markov model"
    sentences = [f"On music it has not seen it needs {gain}."]
    if metrics["train"]:
        share = min(1.0, carried_over(metrics["train"], held, bool(lossy)))
        sentences.append(f"Of what it knows about its training pieces, {share:.0%} holds there too.")
    if judgement and judgement["originality"]["yardstick"]:
        sentences.append(f"None of {judgement['pieces']} improvised pieces copies more than unseen human music does.")
    return " ".join(sentences)


def gap_in_words(metrics: Table) -> str:
    """What the same model would have claimed on its training pieces, and what the difference is."""
    train, held, unit = metrics["train"], metrics[metrics["held_out"]], metrics["unit"]
    if not (train and held):
        return ""
    perplexities = (
        f"a perplexity of {train['perplexity_per_token']:.2f} per {unit} instead of {held['perplexity_per_token']:.2f}"
    )
    if metrics["lossy"]:
        claim = f"Judged on its own training pieces, this model would claim {perplexities}."
    else:
        claim = (
            f"Judged on its own training pieces, this model would claim {train['bits_per_note']:.2f} bits per note "
            f"instead of {held['bits_per_note']:.2f} ({perplexities})."
        )
    share = carried_over(train, held, bool(metrics["lossy"]))
    if share >= 1:
        return f"{claim} There is no gap to explain: unseen music is no harder for it."
    return (
        f"{claim} The difference is memory, not musicianship: it knows those pieces, and it is gone as soon as the music is new. "
        f"Of its lead over the bare frequencies of notes, {max(share, 0):.0%} is left there."
    )
