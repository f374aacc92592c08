"""A model and the pieces it makes: prompts gone on from, lengths kept, files written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cadenza import export
from cadenza.checkpoint import Checkpoint, Facts, load_checkpoint
from cadenza.ending import Length, Step
from cadenza.errors import CadenzaError
from cadenza.hearing import Frame, Hearing
from cadenza.instruments import INSTRUMENTS
from cadenza.notes import Header, Notes, from_first_onset
from cadenza.phrases.entry import Entry
from cadenza.phrases.loops import Loops
from cadenza.phrases.novelty import Novelty
from cadenza.playability import Player
from cadenza.prompt import check_prompt, check_range, read_prompt
from cadenza.records import Progress, outcome
from cadenza.sample import sample
from cadenza.settings import LENGTHS, LONGEST, AudioSettings, SampleSettings, validate
from cadenza.tokens import Grammar, Representation, Rows, Rule, Ruled, Unmasked


class Piece(NamedTuple):
    """Item `item` of a seed: notes, and the rows (the prompt's or the opening's first) that they were decoded from.

    `nats` is what the last `made` rows, which are its own, cost under the model as it is, `removed` the share of probability that
    masks took of an id of them, on average; `origin` all that is needed to make it again.
    """

    item: int
    notes: Notes
    rows: Rows
    made: int
    nats: float
    removed: float
    origin: dict[str, Any]

    @property
    def own(self) -> Rows:
        """The rows that the model made."""
        return self.rows[len(self.rows) - self.made :]


@dataclass(frozen=True)
class Plan:
    """What pieces begin with, where they end and what may stand in them.

    `begun` are the rows of the prompt or the opening; `late` says by how many steps the prompt's last onset is later than
    these have it.
    """

    settings: SampleSettings
    seed: int
    prompt: Notes | None
    header: Header
    begun: Rows
    late: int
    length: Length
    grammar: Grammar

    @property
    def limit(self) -> int:
        """No note sounds at this step or after."""
        return int(self.length.steps) + self.late

    def frame(self, representation: Representation) -> Frame:
        """How the rows of pieces become notes."""
        return Frame(representation, self.header, self.prompt, self.begun, self.late, self.limit)


@dataclass(frozen=True)
class Improviser(Checkpoint):
    """A loaded model that makes pieces; `training` gives those it learned from, as their rows say, if they are at hand."""

    training: Callable[[], Sequence[Notes]] | None = None

    def read_prompt(self, path: Path, instrument: str = "any") -> tuple[Notes, str]:
        """The notes of a MIDI file as this model's corpus was read, for an instrument; and what was taken, if not all."""
        return read_prompt(path, self.reading, self.facts, instrument)

    def generate(
        self, count: int = 1, seed: int = 0, prompt: Notes | str | Path | None = None, **sampling: Any
    ) -> list[Notes]:
        """`count` pieces; `sampling` takes the keys of `SampleSettings`, by default those the model was tuned to.

        The notes of `prompt` (or of the MIDI file at this path) come back untouched before each continuation. The same
        seed, from 0 on, gives the same pieces on the same machine, and piece k does not depend on `count`.
        """
        if fixed := {"opening", "sweep"} & set(sampling):
            raise CadenzaError(f"sample.{fixed.pop()} is fixed by the run that made the model; leave it out.")
        if "best_of" in sampling:
            raise CadenzaError(
                "best_of is an option of the command only; use cadenza generate --best-of, or choose with cadenza.evaluate.ranking."
            )
        settings = self.settled(validate({"sample": {**sampling, "count": count}}).sample)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise CadenzaError(f"seed = {seed!r}: a seed is a whole number, 0 or more.")
        if isinstance(prompt, str | Path):
            prompt, _ = self.read_prompt(Path(prompt), settings.instrument)
        if not isinstance(prompt, Notes | None):
            raise CadenzaError(f"A prompt is notes or the path of a MIDI file, not {type(prompt).__name__}.")
        return [piece.notes for piece in outcome(self.stream(settings, range(count), int(seed), prompt))]

    def settled(self, given: SampleSettings) -> SampleSettings:
        """What was set in `given`, else what this model was tuned to, else the defaults.

        A temperature replaces all of the model's own, one for a field only that field's. A length that is given is kept to,
        and one in notes or bars may last as long as it will.
        """
        own, asked = (each.model_dump(exclude_unset=True) for each in (self.sampling, given))
        if "temperature" not in asked and "by_field" in own:
            asked["by_field"] = own["by_field"] | asked.get("by_field", {})
        elif "temperature" in asked:
            own.pop("by_field", None)
        if any(asked.get(key) for key in LENGTHS):
            asked = {"ending": "held", "seconds": LONGEST} | asked
        return SampleSettings.model_validate(own | asked)

    def program(self, instrument: str) -> int:
        """The program of pieces for this instrument; of `any`, that of the corpus."""
        return INSTRUMENTS[instrument].program if instrument in INSTRUMENTS else self.facts.program

    def save(self, piece: Notes, path: str | Path, instrument: str = "any") -> Path:
        """Write a piece as MIDI, sound or picture, by the ending of `path`."""
        path = Path(path)
        [kind] = export.known_formats(path.suffix or "none")
        [written] = export.piece(piece, path.with_suffix(""), [kind], self.program(instrument), AudioSettings())
        return written

    def plan(self, settings: SampleSettings, seed: int, prompt: Notes | None = None) -> Plan:
        """All that is decided before the first row; a prompt or a length that is impossible raises `CadenzaError`."""
        tokens = self.representation
        header = Header("", self.facts.base, prompt.header.tempo if prompt else self.facts.tempo, self.facts.meter)
        limit = min(round(settings.seconds / header.step_seconds), steps_of(settings.bars, self.facts))
        begun, late = self.opening, 0
        if prompt is not None:
            check_prompt(prompt, limit, settings, self.facts, tokens)
            begun = tokens.encode(from_first_onset(prompt), end=False)
            late = int(prompt.onset[-1] - tokens.decode(begun).onset[-1])
        grammar = tokens.grammar(self.facts.lowest, self.facts.highest)
        if not settings.masks:
            grammar = Unmasked(grammar)
        rules, wishes = self.rules(settings, header, prompt or tokens.decode(begun, header)), self.wishes(settings)
        if prompt is not None and settings.entry:
            start = math.ceil(settings.entry / header.step_seconds - 1e-6) - late
            wishes = [Entry(tokens, start), *wishes]
        grammar = Ruled(grammar, rules, wishes) if rules or wishes else grammar
        led, held = settings.ending in ("free", "held"), settings.ending in ("held", "never")
        length = Length(limit - late, settings.notes or math.inf, led, held)
        return Plan(settings, seed, prompt, header, begun, late, length, grammar)

    def improvise(self, plan: Plan, items: Sequence[int]) -> Iterator[Step]:
        """The rows of these items as they are made, those of the beginning left out."""
        return sample(
            self.reader(), self.representation, plan.grammar, plan.settings,
            items=items, seed=plan.seed, length=plan.length, prompt=plan.begun,
        )  # fmt: skip

    def stream(
        self, settings: SampleSettings, items: Sequence[int], seed: int, prompt: Notes | None = None
    ) -> Generator[Progress, None, list[Piece]]:
        """These items of a seed, with progress in steps of music made."""
        plan = self.plan(settings, seed, prompt)
        yield Progress("getting ready", 0, 1)
        made: dict[int, list[Step]] = {item: [] for item in items}
        clock = int(self.representation.steps(plan.begun).sum()) * len(made)
        for step in self.improvise(plan, items):
            made[step.item].append(step)
            clock += int(self.representation.steps(step.row[None])[0])
            yield Progress("improvising", clock, plan.limit * len(made))
        return [self.finish(plan, item, steps) for item, steps in made.items()]

    def as_made(self, plan: Plan, items: Sequence[int]) -> Iterator[tuple[int, Notes]]:
        """Notes of each item (one or more) as soon as a row has brought them; those of the last stretch come together.

        The finished piece may end some sooner. What a row costs does not grow with the piece.
        """
        heard = {item: Hearing(plan.frame(self.representation)) for item in items}
        for step in self.improvise(plan, items):
            new = heard[step.item].add(step.row)
            if len(new):
                yield step.item, new

    def rules(self, settings: SampleSettings, header: Header, given: Notes) -> list[Rule]:
        """What stands beside the grammar; an instrument that cannot go on from what is given raises `CadenzaError`."""
        instrument, (lowest, highest) = INSTRUMENTS.get(settings.instrument), (self.facts.lowest, self.facts.highest)
        if instrument is None:
            return []
        check_range(settings.instrument, lowest, highest, given)
        return [self.representation.playable(Player(instrument, header.step_seconds), lowest, highest)]

    def wishes(self, settings: SampleSettings) -> list[Rule]:
        """The rules on phrases; training pieces that are needed and not at hand raise `CadenzaError`."""
        tokens = self.representation
        found: list[Rule] = [Loops(tokens, settings.phrase, settings.repeats)] if settings.repeats else []
        if settings.novel:
            if self.training is None:
                raise CadenzaError(
                    "A model file does not hold the training pieces that --novel compares with; give the run folder."
                )
            found.append(Novelty(tokens, self.training(), settings.novel))
        return found

    @property
    def opening(self) -> Rows:
        """The rows with which a piece without a prompt begins, shape (K, F)."""
        return np.array(self.facts.opening, dtype=np.int16).reshape(-1, len(self.representation.sizes))

    def finish(self, plan: Plan, item: int, steps: Sequence[Step]) -> Piece:
        """The rows of an item as a finished piece."""
        rows = np.concatenate([plan.begun, np.stack([step.row for step in steps])]) if steps else plan.begun
        choices = int(self.representation.scored(rows[len(plan.begun) :]).sum())
        origin = self.origin(plan, item)
        notes = plan.frame(self.representation).notes(rows)
        notes = replace(notes, header=replace(notes.header, origin=json.dumps(origin, sort_keys=True)))
        nats, removed = (
            math.fsum(column) for column in ([step.nats for step in steps], [step.removed for step in steps])
        )
        return Piece(item, notes, rows, len(steps), nats, removed / max(1, choices), origin)

    def origin(self, plan: Plan, item: int) -> dict[str, Any]:
        """What made an item: the program, the model, every setting, the seed, and a digest of the prompt."""
        prompt = None if plan.prompt is None else sha256(np.stack(plan.prompt.columns).tobytes()).hexdigest()
        return {
            "made_by": f"Cadenza {version('cadenza')}", "model_sha256": self.weights_sha256, "seed": plan.seed, "item": item,
            "prompt_sha256": prompt, "sample": plan.settings.model_dump(exclude={"count", "sweep"}),
        }  # fmt: skip


def steps_of(bars: int, facts: Facts) -> float:
    """How many steps so many bars of the usual metre last; 0 bars have no end. Music without bars raises `CadenzaError`."""
    if not bars:
        return math.inf
    if facts.unit != "beats" or facts.meter is None:
        raise CadenzaError("This model has learned performances, which have no bars; give --seconds or --notes.")
    beats, kind = facts.meter
    return bars * facts.base.steps * 4 * beats // kind


def check_sampling(settings: SampleSettings, facts: Facts) -> None:
    """What no model of such music can be asked for raises `CadenzaError`."""
    steps_of(settings.bars, facts)
    if settings.instrument in INSTRUMENTS:
        check_range(settings.instrument, facts.lowest, facts.highest, Notes.of([], [], [], []))


def load_improviser(path: Path, device: str = "cpu") -> Improviser:
    """Read a model file; anything else raises `CadenzaError` and runs nothing."""
    return Improviser(**vars(load_checkpoint(path, device)))
