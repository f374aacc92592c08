"""Files to notes and back: Standard MIDI Files in, Standard MIDI Files out.

A file is first read into a `Score`: ticks, tempo map, and one part per program, all tracks of a
program merged (one violin may lie over dozens of tracks). A `Score` becomes `Notes` once the time
base is known. The rules, each of which has a test:

* *Sustain pedal* (controller 64, down from value 64): a key released while its track's pedal is down
  sounds until the pedal is lifted; a pedal never lifted holds to the last event of its track.
* *Overlapping equal pitches*: releases match strikes first in, first out; a note is then cut where
  the next of its pitch begins, and strikes of one pitch at one onset are one note.
* *Zero length*: such a note lasts one step.
* *Unreleased notes* have no length and are left out (the parser, symusic, does not report them).
* *Tempo changes*: times in seconds follow the whole tempo map; times in beats ignore it, and the
  piece's tempo is then its mean tempo.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cadenza.errors import BadFile, CadenzaError
from cadenza.instruments import DRUMS, program_name, program_number
from cadenza.notes import Header, Notes, TimeBase, one_at_a_time
from cadenza.settings import MidiSettings

if TYPE_CHECKING:
    import symusic

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".smf")

PEDAL = 64
GRID_PER_BEAT = 12
GRID_TOLERANCE = 0.1
TICKS_PER_BEAT_SECONDS = 500
TICKS_PER_BEAT_SCORE = 480
ANEW = "export it anew, or leave it out"
MOST_NOTES = 1_000_000
"""Of a file, all instruments together; more would only fill the memory."""
MOST_TICKS = 2**28 - 1
"""The longest time between two events that a file can hold."""

Ticks = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """All notes of one program: start, end (ticks), pitch and velocity, N values each."""

    start: Ticks
    end: Ticks
    pitch: npt.NDArray[np.int64]
    velocity: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Score:
    """What a file holds: parts by program (`DRUMS` for percussion) and the map from ticks to time."""

    name: str
    ticks_per_beat: int
    tempo_tick: Ticks
    tempo_beat_seconds: npt.NDArray[np.float64]
    meter: tuple[int, int] | None
    parts: dict[int, Part]

    def seconds(self, ticks: Ticks) -> npt.NDArray[np.float64]:
        """Ticks to seconds by the whole tempo map."""
        tick_seconds = self.tempo_beat_seconds / self.ticks_per_beat
        begins = np.concatenate([[0.0], np.cumsum(np.diff(self.tempo_tick) * tick_seconds[:-1])])
        change = np.searchsorted(self.tempo_tick, ticks, side="right") - 1
        return begins[change] + (ticks - self.tempo_tick[change]) * tick_seconds[change]

    def on_grid(self) -> tuple[int, int]:
        """How many onsets lie on a twelfth of a beat (within a tenth of it), and how many there are.

        Unquantised performances land there by chance one time in five, scores nearly always.
        """
        starts = np.concatenate([part.start for part in self.parts.values()] or [np.empty(0, np.int64)])
        position = starts * GRID_PER_BEAT / self.ticks_per_beat
        return int((abs(position - np.round(position)) <= GRID_TOLERANCE).sum()), len(starts)

    def chosen(self, settings: MidiSettings) -> list[int]:
        """The programs that the settings select, most notes first."""
        allowed = [program for program in self.parts if program != DRUMS or settings.drums == "keep"]
        allowed.sort(key=lambda program: (-len(self.parts[program]), program))
        if settings.instrument == "all":
            return allowed
        if settings.instrument == "auto":
            melodic = [program for program in allowed if program != DRUMS]
            return (melodic or allowed)[:1]
        wanted = program_number(settings.instrument)
        return [program for program in allowed if program == wanted]

    def notes(self, settings: MidiSettings, unit: str) -> Notes:
        """The chosen parts as notes on the `unit` time base ("seconds" or "beats")."""
        parts = [self.parts[program] for program in self.chosen(settings)]
        if not parts:
            raise self.nothing_left(settings)
        start, end, pitch, velocity = (
            np.concatenate([getattr(part, column) for part in parts]) for column in Part.__dataclass_fields__
        )
        if unit == "seconds":
            base = TimeBase("seconds", settings.steps_per_second)
            steps = np.split(self.seconds(np.concatenate([start, end])) * base.steps, 2)
            tempo = 120.0
        else:
            base = TimeBase("beats", settings.steps_per_beat)
            steps = [ticks * (base.steps / self.ticks_per_beat) for ticks in (start, end)]
            tempo = self.mean_tempo(int(end.max()))
        onset, stop = (np.rint(values).astype(np.int64) for values in steps)
        if stop.max() > np.iinfo(np.int32).max:
            raise BadFile(self.name, f"damaged (its last note lies {stop.max():,} steps in)")
        header = Header(self.name, base, tempo, self.meter)
        return one_at_a_time(Notes.of(onset, pitch, np.maximum(stop - onset, 1), velocity, header))

    def mean_tempo(self, end: int) -> float:
        """Quarter notes per minute from the start to tick `end`."""
        seconds = float(self.seconds(np.array([end]))[0])
        return float(np.clip(60 * end / self.ticks_per_beat / seconds, 10, 500)) if seconds > 0 else 120.0

    def set_aside(self, settings: MidiSettings) -> str:
        """The parts that are not chosen, in words; nothing if all are."""
        chosen = self.chosen(settings)
        return self.in_words([program for program in self.parts if program not in chosen])

    def in_words(self, programs: Iterable[int]) -> str:
        """These parts, with how much each has."""
        return ", ".join(f"{program_name(program)}: {len(self.parts[program])} notes" for program in programs)

    def nothing_left(self, settings: MidiSettings) -> BadFile:
        """Why the settings select no notes."""
        if not self.parts:
            return BadFile(self.name, "there are no notes in it")
        fault, remedy = f"no notes for {settings.instrument}", "midi.instrument=auto"
        if set(self.parts) == {DRUMS} and settings.drums == "drop":
            fault, remedy = "no notes left after removing drums", "midi.drums=keep"
        return BadFile(self.name, fault, f"pass --set {remedy}, or leave it out")


def parse(data: bytes, name: str, settings: MidiSettings) -> Score:
    """Read the bytes of a Standard MIDI File; anything else raises `CadenzaError`."""
    raw = open_score(data, name)
    tempos = raw.tempos.numpy()
    tick = np.concatenate([[0], tempos["time"]]).astype(np.int64)
    beat_seconds = np.concatenate([[0.5], tempos["mspq"] / 1e6])
    last_at_a_tick = np.append(np.diff(tick) > 0, True)
    meters = raw.time_signatures
    meter = (
        (meters[0].numerator, meters[0].denominator)
        if len(meters) and meters[0].numerator and meters[0].denominator
        else None
    )
    count = sum(len(track.notes) for track in raw.tracks)
    if count > MOST_NOTES:
        raise BadFile(name, f"{count:,} notes, over the {MOST_NOTES:,} that a file may have", "cut it, or leave it out")
    return Score(
        name, raw.ticks_per_quarter, tick[last_at_a_tick], beat_seconds[last_at_a_tick], meter, parts_of(raw, settings)
    )


def open_score(data: bytes, name: str) -> symusic.Score:
    """The parser's own view of a Standard MIDI File; anything else raises `CadenzaError`."""
    import symusic

    if not data:
        raise BadFile(name, "the file is empty (0 bytes)")
    if data[:4] != b"MThd":
        raise BadFile(name, f"not a MIDI file (it begins with {data[:4].decode('latin-1')!a}, not 'MThd')")
    if data[12:13] >= b"\x80":
        raise BadFile(name, "it counts time in the frames of a film (SMPTE), not in beats")
    try:
        raw = symusic.Score.from_midi(data)
    except MemoryError:
        raise
    except Exception as error:  # the parser raises RuntimeError, ValueError and others
        raise BadFile(name, f"damaged ({why(str(error))})", ANEW) from None
    if raw.ticks_per_quarter < 1:
        raise BadFile(name, f"damaged ({raw.ticks_per_quarter} ticks per beat)", ANEW)
    return raw


def why(said: str) -> str:
    """What the parser said of a damaged file, in words that are no programmer's.

    >>> why("MiniMidi: Unexpected EOF in file! Cursor is 169 bytes beyond the end of buffer")
    'it ends too early'
    """
    if "EOF" in said:
        return "it ends too early"
    return said.removeprefix("MiniMidi: ").split("!")[0].strip() or "unreadable"


def parts_of(raw: symusic.Score, settings: MidiSettings) -> dict[int, Part]:
    """Merge the tracks of each program."""
    tracks: dict[int, list[Columns]] = {}
    for track in raw.tracks:
        if len(track.notes):
            columns = track.notes.numpy()
            if settings.pedal == "extend" and len(track.controls):
                end = columns["time"].astype(np.int64) + columns["duration"]
                columns["duration"] = hold(end, *pedal_down(track)) - columns["time"]
            tracks.setdefault(DRUMS if track.is_drum else track.program, []).append(columns)
    merged = {program: merge(parts) for program, parts in tracks.items()}
    return {program: part for program, part in merged.items() if len(part)}


def merge(tracks: list[Columns]) -> Part:
    """The columns of several tracks in one part, without notes that cannot be heard."""
    start, duration, pitch, velocity = (
        np.concatenate([columns[name] for columns in tracks]).astype(np.int64)
        for name in ("time", "duration", "pitch", "velocity")
    )
    heard = (velocity > 0) & (start >= 0) & (pitch >= 0)
    return Part(start[heard], (start + duration)[heard], pitch[heard], velocity[heard])


def pedal_down(track: symusic.core.TrackTick) -> tuple[Ticks, Ticks]:
    """The spans (from, to), in ticks, in which a track's sustain pedal is down."""
    controls = track.controls.numpy()
    pedal = controls["number"] == PEDAL
    time, down = controls["time"][pedal].astype(np.int64), controls["value"][pedal] >= 64
    changes = np.flatnonzero(np.diff(down, prepend=False))
    time, down = time[changes], down[changes]
    if len(down) and down[-1]:
        time = np.append(time, max(track.end(), time[-1]))
    return time[::2], time[1::2]


def hold(end: Ticks, pedal_from: Ticks, pedal_to: Ticks) -> Ticks:
    """Move each end that falls into a pedal span to the end of that span."""
    if not len(pedal_from):
        return end
    span = np.searchsorted(pedal_from, end, side="right") - 1
    return np.where(span >= 0, np.maximum(end, pedal_to[span]), end)


def read(path: Path, settings: MidiSettings | None = None, unit: str = "seconds") -> Notes:
    """The notes of one MIDI file, for prompts and pictures; in this process, so for files one trusts."""
    settings = settings or MidiSettings()
    return parse(read_bytes(path, settings, str(path)), str(path), settings).notes(settings, unit)


def read_bytes(path: Path, settings: MidiSettings, name: str) -> bytes:
    """The bytes of a file of bearable size; `name` is what messages call it."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadFile(name, "not a regular file", "leave it out")
        size = status.st_size
        if size > settings.max_megabytes * 1e6:
            fault = f"{size / 1e6:,.0f} MB, over midi.max_megabytes = {settings.max_megabytes:g}"
            raise BadFile(name, fault, "raise that, or leave it out")
        return path.read_bytes()
    except OSError as error:
        raise CadenzaError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions.") from None


def to_bytes(notes: Notes, program: int = 0) -> bytes:
    """A Standard MIDI File with tempo, meter, program and, as a text event, the origin; performances at 1 ms a tick.

    >>> to_bytes(Notes.of([0], [60], [50], [80]))[:4]
    b'MThd'
    """
    file = to_symusic(notes, program).dumps_midi()
    return with_text(file, notes.header.origin) if notes.header.origin else file


def with_text(file: bytes, text: str) -> bytes:
    """The file with a text event before all others of its first track, since symusic writes none."""
    begin = file.index(b"MTrk") + 8
    data = text.encode("ascii", "backslashreplace")
    event = b"\x00\xff\x01" + variable_length(len(data)) + data
    length = int.from_bytes(file[begin - 4 : begin], "big") + len(event)
    return file[: begin - 4] + length.to_bytes(4, "big") + event + file[begin:]


def variable_length(number: int) -> bytes:
    """Seven bits a byte; all but the last are marked.

    >>> variable_length(300).hex()
    '822c'
    """
    last = bytes([number & 0x7F])
    return bytes([byte | 0x80 for byte in variable_length(number >> 7)]) + last if number > 0x7F else last


def to_symusic(notes: Notes, program: int) -> symusic.Score:
    """The same music in symusic's classes, drums on the percussion channel; what is too long for a file raises `CadenzaError`."""
    import symusic

    header = notes.header
    seconds = header.time_base.unit == "seconds"
    ticks_per_beat = TICKS_PER_BEAT_SECONDS if seconds else TICKS_PER_BEAT_SCORE
    tempo = 120.0 if seconds else header.tempo
    ticks = ticks_per_beat * (2.0 if seconds else 1.0) / header.time_base.steps
    if notes.end * ticks > MOST_TICKS:
        hours, most = (steps * header.step_seconds / 3600 for steps in (notes.end, MOST_TICKS / ticks))
        raise CadenzaError(
            f"{header.name or 'The piece'}: it lasts {hours:,.0f} hours, and a MIDI file holds {most:,.0f}; cut it."
        )
    notes = one_at_a_time(notes)
    score = symusic.Score(ticks_per_beat)
    score.tempos.append(symusic.Tempo(0, tempo))
    score.time_signatures.append(symusic.TimeSignature(0, *(header.meter or (4, 4))))
    track = symusic.Track(program=max(program, 0), is_drum=program == DRUMS, name=header.name)
    start = np.rint(notes.onset * ticks).astype(np.int32)
    end = np.rint((notes.onset + notes.duration) * ticks).astype(np.int32)
    track.notes = symusic.Note.from_numpy(
        start, end - start, notes.pitch.astype(np.int8), notes.velocity.astype(np.int8)
    )
    score.tracks.append(track)
    return score
