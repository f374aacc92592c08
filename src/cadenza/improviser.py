"""A model and the pieces it makes: prompts gone on from, lengths kept, files written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza import export, midi
from cadenza.checkpoint import Checkpoint, load_checkpoint
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, concatenate, from_first_onset, one_at_a_time, shift_time
from cadenza.phrases.loops import Loops
from cadenza.phrases.novelty import Novelty
from cadenza.records import Progress, outcome
from cadenza.sample import sample
from cadenza.settings import AudioSettings, SampleSettings, validate
from cadenza.tokens import Rows, Rule, Ruled, Unmasked


class Piece(NamedTuple):
    """Notes, and the rows (the prompt's or the opening's first) that they were decoded from."""

    notes: Notes
    rows: Rows


@dataclass(frozen=True)
class Improviser(Checkpoint):
    """A loaded model that makes pieces; `training` gives those it learned from, as their rows say, if they are at hand."""

    training: Callable[[], Sequence[Notes]] | None = None

    def read_prompt(self, path: Path) -> tuple[Notes, str]:
        """The notes of a MIDI file as this model's corpus was read, and what was set aside."""
        score = midi.parse(midi.read_bytes(path, self.reading, str(path)), str(path), self.reading)
        notes = score.notes(self.reading, self.facts.unit)
        return replace(notes, header=replace(notes.header, name="")), score.set_aside(self.reading)

    def generate(self, count: int = 1, seed: int = 0, prompt: Notes | None = None, **sampling: Any) -> list[Notes]:
        """`count` pieces; `sampling` takes the keys of `SampleSettings`, by default those the model was tuned to.

        The notes of `prompt` come back untouched before each continuation. The same seed gives the
        same pieces on the same machine, and piece k does not depend on `count`.
        """
        if fixed := {"opening", "sweep"} & set(sampling):
            raise CadenzaError(f"sample.{fixed.pop()} is fixed by the run that made the model; leave it out.")
        settings = self.settled(validate({"sample": {**sampling, "count": count}}).sample)
        return [piece.notes for piece in outcome(self.stream(settings, count, seed, prompt))]

    def settled(self, given: SampleSettings) -> SampleSettings:
        """What was set in `given`, else what this model was tuned to, else the defaults.

        A temperature replaces all of the model's own, one for a field only that field's.
        """
        own, asked = (each.model_dump(exclude_unset=True) for each in (self.sampling, given))
        if "temperature" not in asked and "by_field" in own:
            asked["by_field"] = own["by_field"] | asked.get("by_field", {})
        elif "temperature" in asked:
            own.pop("by_field", None)
        return SampleSettings.model_validate(own | asked)

    def save(self, piece: Notes, path: str | Path) -> Path:
        """Write a piece as MIDI, sound or picture, by the ending of `path`."""
        path = Path(path)
        [kind] = export.known_formats(path.suffix or "none")
        [written] = export.piece(piece, path.with_suffix(""), [kind], self.facts.program, AudioSettings())
        return written

    def stream(
        self, settings: SampleSettings, count: int, seed: int, prompt: Notes | None = None
    ) -> Generator[Progress, None, list[Piece]]:
        """Like `generate`, with progress in steps of music made."""
        tokens = self.representation
        header = Header("", self.facts.base, prompt.header.tempo if prompt else self.facts.tempo, self.facts.meter)
        limit = round(settings.seconds / header.step_seconds)
        rows, late = self.opening, 0
        if prompt is not None:
            self.check_prompt(prompt, limit, settings.seconds)
            rows = tokens.encode(from_first_onset(prompt), end=False)
            late = int(prompt.onset[-1] - tokens.decode(rows).onset[-1])
        grammar = tokens.grammar(self.facts.lowest, self.facts.highest)
        if not settings.masks:
            grammar = Unmasked(grammar)
        if wishes := self.wishes(settings):
            grammar = Ruled(grammar, wishes=wishes)
        yield Progress("getting ready", 0, 1)
        made: list[list[np.ndarray]] = [list(rows) for _ in range(count)]
        clock = np.full(count, int(tokens.steps(rows).sum()))
        for item, row in sample(
            self.reader(), tokens, grammar, settings, count=count, seed=seed, steps=limit - late, prompt=rows
        ):
            made[item].append(row)
            clock[item] += int(tokens.steps(row[None])[0])
            yield Progress("improvising", int(clock.sum()), limit * count)
        tables = [np.stack(piece) if piece else rows for piece in made]
        return [Piece(self.finish(table, len(rows), prompt, header, limit), table) for table in tables]

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

    def check_prompt(self, prompt: Notes, limit: int, seconds: float) -> None:
        """A prompt that cannot be continued raises `CadenzaError`."""
        if not len(prompt):
            raise CadenzaError("The prompt has no notes; give a MIDI file with at least one.")
        if prompt.header.time_base != self.facts.base:
            raise CadenzaError(
                f"The prompt counts in {prompt.header.time_base}, the model in {self.facts.base}; read it with the model's time base."
            )
        if not self.representation.note_count(self.representation.encode(prompt)):
            raise CadenzaError("The model's vocabulary lacks every note of the prompt; give another.")
        if prompt.onset[-1] >= limit:
            raise CadenzaError(
                f"The prompt lasts {prompt.length_seconds:.0f} s, which leaves nothing of {seconds:g} s; pass a larger --seconds."
            )

    def finish(self, rows: np.ndarray, prompt_rows: int, prompt: Notes | None, header: Header, limit: int) -> Notes:
        """Rows to the finished piece: cut at `limit`, the prompt's own notes put back."""
        piece = self.representation.decode(rows, header)
        if prompt is None:
            return one_at_a_time(cut(from_first_onset(piece), limit))
        known = self.representation.decode(rows[:prompt_rows])
        late = int(prompt.onset[-1]) - int(known.onset[-1])
        new = piece[~np.isin(places(piece), places(known))]
        continuation = one_at_a_time(cut(shift_time(new, late), limit))
        sounding = (prompt.pitch == continuation.pitch[:, None]) & (
            prompt.onset + prompt.duration > continuation.onset[:, None]
        )
        return concatenate([prompt, continuation[~sounding.any(axis=1)]])


def places(notes: Notes) -> npt.NDArray[np.int64]:
    """Onset and pitch of every note as one number, shape (N,)."""
    return notes.onset.astype(np.int64) << 7 | notes.pitch


def cut(notes: Notes, limit: int) -> Notes:
    """No note begins or sounds at `limit` or after."""
    notes = notes[notes.onset < limit]
    return Notes.of(
        notes.onset, notes.pitch, np.minimum(notes.duration, limit - notes.onset), notes.velocity, notes.header
    )


def load_improviser(path: Path, device: str = "cpu") -> Improviser:
    """Read a model file; anything else raises `CadenzaError` and runs nothing."""
    return Improviser(**vars(load_checkpoint(path, device)))
