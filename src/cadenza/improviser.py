"""A model file that can be loaded anywhere, and the pieces it makes.

The file is safetensors, so loading it cannot run code. Its header holds the format's version, the
model's settings, what the corpus fixed (`Facts`), the digest of the manifest it was trained on and,
once the model was tuned, how it is best sampled.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cadenza import export, midi
from cadenza.corpus.works import Hashes
from cadenza.errors import CadenzaError
from cadenza.models import Model, build
from cadenza.models import device as torch_device
from cadenza.notes import Header, Notes, TimeBase, concatenate, from_first_onset, one_at_a_time, shift_time
from cadenza.records import Progress, outcome
from cadenza.sample import sample
from cadenza.settings import AudioSettings, MidiSettings, ModelSettings, SampleSettings, TokenSettings, validate
from cadenza.tokens import Representation, Rows, Unmasked, representation

FORMAT, VERSION = "cadenza-model", 1
SEEN = "cadenza.seen"
"""The name, among the weights, of the sketch of the music a model has seen."""


@dataclass(frozen=True)
class Facts:
    """What a corpus fixes for its model: time base, program, usual tempo and metre, pitch range.

    `vocabulary` names the ids where the corpus decides them, `opening` holds the rows with which every
    piece begins, `losses` says what the representation cannot hold of this corpus.
    """

    source: str
    unit: str
    steps: int
    program: int
    tempo: float
    meter: tuple[int, int] | None
    lowest: int
    highest: int
    vocabulary: tuple[str, ...] = ()
    opening: tuple[tuple[int, ...], ...] = ()
    losses: str = ""

    @property
    def base(self) -> TimeBase:
        return TimeBase("beats" if self.unit == "beats" else "seconds", self.steps)


def facts_from(values: Mapping[str, Any]) -> Facts:
    """Facts as they were written; impossible ones raise `ValueError`."""
    meter = values.get("meter")
    tuples = {
        "meter": tuple(meter) if meter else None,
        "vocabulary": tuple(values.get("vocabulary", ())),
        "opening": tuple(tuple(row) for row in values.get("opening", ())),
    }
    facts = Facts(**{**values, **tuples})
    possible = facts.unit in ("seconds", "beats") and 1 <= facts.steps <= 200 and 1 <= facts.tempo <= 1000
    if not (possible and 0 <= facts.lowest <= facts.highest <= 127 and -1 <= facts.program <= 127):
        raise ValueError("impossible facts")
    if not all(isinstance(name, str) for name in facts.vocabulary):
        raise ValueError("impossible vocabulary")
    return facts


def check_opening(opening: tuple[tuple[int, ...], ...], sizes: tuple[int, ...]) -> None:
    """Rows that no piece can begin with raise `ValueError`."""
    for row in opening:
        if len(row) != len(sizes) or not all(0 <= number <= size for number, size in zip(row, sizes, strict=True)):
            raise ValueError("impossible opening")


def fresh_model(settings: ModelSettings, tokens: Representation, seed: int) -> Model:
    return build(settings, tokens.sizes, tokens.context_width, seed)


def model_bytes(
    weights: Mapping[str, Tensor],
    model: ModelSettings,
    tokens: TokenSettings,
    reading: MidiSettings,
    facts: Facts,
    manifest_sha256: str,
    step: int,
    seen: Hashes | None = None,
) -> bytes:
    """The file of a model, with a sketch of the music it has seen; the same model gives the same bytes."""
    header = {
        "version": VERSION,
        "model": model.model_dump(),
        "tokens": tokens.model_dump(),
        "midi": reading.model_dump(),
        "facts": asdict(facts),
        "manifest_sha256": manifest_sha256,
        "step": step,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    if seen is not None:
        tensors[SEEN] = torch.from_numpy(seen.view(np.int64))
    return save(tensors, {FORMAT: json.dumps(header)})  # one entry, since safetensors keeps no order


def with_sampling(file: bytes, sampling: SampleSettings) -> bytes:
    """A model's file with these settings (those that were set) as its own; the weights stay byte for byte."""
    end = 8 + int.from_bytes(file[:8], "little")
    outer = json.loads(file[8:end])
    header = json.loads(outer["__metadata__"][FORMAT]) | {"sampling": sampling.model_dump(exclude_unset=True)}
    outer["__metadata__"] = {FORMAT: json.dumps(header)}
    text = json.dumps(outer, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors wants the weights to begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + file[end:]


class Piece(NamedTuple):
    """Notes, and the rows (the prompt's or the opening's first) that they were decoded from."""

    notes: Notes
    rows: Rows


@dataclass(frozen=True)
class Improviser:
    """A loaded model with everything it needs to improvise.

    `sampling` holds what was set for it alone, `seen` a sketch of the music it learned from or was
    chosen by (`corpus.sketch`); older files have none.
    """

    model: Model
    settings: ModelSettings
    tokens: TokenSettings
    reading: MidiSettings
    facts: Facts
    manifest_sha256: str
    step: int
    sampling: SampleSettings = field(default_factory=SampleSettings)
    seen: Hashes | None = None

    @property
    def representation(self) -> Representation:
        return representation(self.tokens.representation, self.facts.base, self.facts.vocabulary)

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
        made: list[list[np.ndarray]] = [list(rows) for _ in range(count)]
        clock = np.full(count, int(tokens.steps(rows).sum()))
        for item, row in sample(
            self.model, tokens, grammar, settings, count=count, seed=seed, steps=limit - late, prompt=rows
        ):
            made[item].append(row)
            clock[item] += int(tokens.steps(row[None])[0])
            yield Progress("improvising", int(clock.sum()), limit * count)
        tables = [np.stack(piece) if piece else rows for piece in made]
        return [Piece(self.finish(table, len(rows), prompt, header, limit), table) for table in tables]

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
    try:
        with open(path, "rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot read this model ({error.strerror}); give a run folder or its model.safetensors."
        ) from None
    if begins[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise CadenzaError(f"{path}: a pickle, which could run any code and is never opened; give a model.safetensors.")
    try:
        with safe_open(path, "pt", device="cpu") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CadenzaError(
            f"{path}: damaged or cut off ({str(error).splitlines()[0]}); copy it again or train anew."
        ) from None
    if FORMAT not in header:
        raise CadenzaError(f"{path}: not a Cadenza model; give the model.safetensors of a run.")
    try:
        fields = dict(json.loads(header[FORMAT]))
    except (ValueError, TypeError):
        raise CadenzaError(f"{path}: its header is damaged; copy it again or train anew.") from None
    return from_header(path, fields, weights, device)


def from_header(path: Path, header: Mapping[str, Any], weights: Mapping[str, Tensor], device: str) -> Improviser:
    """The model of a header and its weights."""
    if header.get("version") != VERSION:
        raise CadenzaError(
            f"{path}: a model of format {header.get('version')}, this Cadenza reads {VERSION}; use the matching release or train anew."
        )
    where = torch_device(device)
    try:
        settings = ModelSettings.model_validate(header["model"])
        tokens = TokenSettings.model_validate(header["tokens"])
        reading = MidiSettings.model_validate(header["midi"])
        facts = facts_from(header["facts"])
        with torch.device("meta"):  # no memory is taken before the weights are known to fit
            written = representation(tokens.representation, facts.base, facts.vocabulary)
            check_opening(facts.opening, written.sizes)
            model = fresh_model(settings, written, seed=0)
        sampling = SampleSettings.model_validate(header.get("sampling", {}))
        if not set(sampling.by_field) <= set(written.fields):
            raise ValueError("impossible sampling")
        model.load_state_dict({name: tensor for name, tensor in weights.items() if name != SEEN}, assign=True)
        return Improviser(
            model.to(where).eval(),
            settings,
            tokens,
            reading,
            facts,
            header["manifest_sha256"],
            int(header["step"]),
            sampling,
            weights[SEEN].numpy().view(np.uint64) if SEEN in weights else None,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CadenzaError(
            f"{path}: its header and its weights do not fit together ({str(error).splitlines()[0]}); copy it again or train anew."
        ) from None
