"""Music to go on from: a MIDI file as the corpus of a model was read, and whether the model can go on from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cadenza import midi
from cadenza.checkpoint import Facts
from cadenza.errors import BadFile, CadenzaError
from cadenza.instruments import DRUMS, INSTRUMENTS, program_name, program_number
from cadenza.notes import Notes, pitch_name
from cadenza.settings import LONGEST, MidiSettings, SampleSettings
from cadenza.tokens import Representation


def read_prompt(path: Path, reading: MidiSettings, facts: Facts, instrument: str) -> tuple[Notes, str]:
    """The notes of a file, and what was taken of it if not all was; a file without notes raises `CadenzaError`.

    Of several instruments, `instrument` is taken, or else the model's own, where the file has it.
    """
    try:
        score = midi.parse(midi.read_bytes(path, reading, str(path)), str(path), reading)
        wanted = wanted_instruments(reading, facts, instrument)
        there = [name for name in wanted if program_number(name) in score.parts]
        otherwise = "all" if reading.instrument == "all" else "auto"
        reading = reading.model_copy(update={"instrument": there[0] if there else otherwise})
        notes = score.notes(reading, facts.unit)
    except BadFile as error:
        raise CadenzaError(f"{path}: {error.fault}; give another MIDI file to go on from.") from None
    said = ""
    if aside := score.set_aside(reading):
        lacks = f"there is no {program_name(program_number(wanted[0]))}; " if wanted and not there else ""
        said = f"{lacks}took {score.in_words(score.chosen(reading))}; set aside {aside}"
    return replace(notes, header=replace(notes.header, name="")), said


def wanted_instruments(reading: MidiSettings, facts: Facts, instrument: str) -> list[str]:
    """Which instruments of a prompt are gone on from, by name or number, the best first; none where all are."""
    asked = [] if instrument == "any" else [instrument]
    if reading.instrument == "all":
        return asked
    usual = [] if facts.program == DRUMS else [str(facts.program)]
    return asked + (usual if reading.instrument == "auto" else [reading.instrument])


def check_prompt(prompt: Notes, limit: float, settings: SampleSettings, facts: Facts, tokens: Representation) -> None:
    """A prompt that cannot be gone on from, before step `limit`, raises `CadenzaError`."""
    if not len(prompt):
        raise CadenzaError("The prompt has no notes; give a MIDI file with at least one.")
    if prompt.header.time_base != facts.base:
        raise CadenzaError(
            f"The prompt counts in {prompt.header.time_base}, the model in {facts.base}; read it with the model's time base."
        )
    if not tokens.note_count(tokens.encode(prompt)):
        raise CadenzaError("The model's vocabulary lacks every note of the prompt; give another.")
    if prompt.onset[-1] * prompt.header.step_seconds >= LONGEST:
        raise CadenzaError(
            f"The prompt lasts {prompt.length_seconds:,.0f} s, and no piece is longer than {LONGEST:,} s; give a shorter one."
        )
    if prompt.onset[-1] >= limit:
        asked, option = (f"{settings.bars} bars", "bars") if settings.bars else (f"{settings.seconds:g} s", "seconds")
        raise CadenzaError(
            f"The prompt lasts {prompt.length_seconds:.0f} s, which leaves nothing of {asked}; pass a larger --{option}."
        )
    if settings.notes and len(prompt) >= settings.notes:
        raise CadenzaError(
            f"The prompt has {len(prompt)} notes, which leaves nothing of {settings.notes}; pass a larger --notes."
        )


def check_range(name: str, lowest: int, highest: int, given: Notes) -> None:
    """A model's pitches of which an instrument has none, or notes to go on from that it lacks, raise `CadenzaError`."""
    instrument = INSTRUMENTS[name]
    reaches = f"{pitch_name(instrument.lowest)} to {pitch_name(instrument.highest)}"
    if max(lowest, instrument.lowest) > min(highest, instrument.highest):
        raise CadenzaError(
            f"The {name} plays {reaches}, this model {pitch_name(lowest)} to {pitch_name(highest)}; choose another instrument or another model."
        )
    outside = np.flatnonzero((given.pitch < instrument.lowest) | (given.pitch > instrument.highest))
    if len(outside):
        pitch, onset = given.pitch[outside[0]], given.onset[outside[0]] * given.header.step_seconds
        raise CadenzaError(
            f"The music to go on from has {pitch_name(int(pitch))} at {onset:.1f} s, and the {name} plays {reaches}; transpose it or choose another instrument."
        )
