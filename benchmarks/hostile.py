"""Hostile MIDI files: small songs, taken apart and put together wrongly, the same for the same numbers.

In: a seed, a number and the songs to begin from. Out: the bytes of a file. Songs are changed as music (events, tempi,
metres, chunks), as bytes, or first as the one and then as the other. The songs are made here; those of a corpus, where
one is at hand, are cut to their first events.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from cadenza.midi import variable_length

Event = tuple[bytes, bytes]
"""Time since the last event, as it is written, and the message with its status."""

END = (b"\0", b"\xff\x2f\0")
LONGEST = b"\xff\xff\xff\x7f"
"""The longest time that the format provides for."""
EXTREMES = (0, 1, 2, 0x3F, 0x40, 0x7E, 0x7F, 0x80, 0x81, 0x90, 0xC0, 0xF0, 0xF7, 0xFE, 0xFF)
DIVISIONS = (0, 1, 2, 3, 24, 96, 480, 960, 0x7FFF, 0x8000, 0xE250, 0xE728, 0xE878, 0x80FF, 0xFFFF)
"""Ticks per quarter, or frames per second and ticks per frame, possible and impossible."""
LENGTHS = (0, 1, 3, 4, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CHUNKS = (bytearray(b"MThd"), bytearray(b"MTrk"))
FLOOD = 4_000
EVENTS, TRACKS = 100, 4
"""What is kept of a real file: so many events of each of so many tracks."""


@dataclass(frozen=True)
class Song:
    """A Standard MIDI File in parts: its format, its division and the events of its tracks."""

    format: int
    division: int
    tracks: tuple[tuple[Event, ...], ...]


Change = Callable[[random.Random, Song, Sequence[Song]], Song]
Damage = Callable[[random.Random, bytearray], None]


def hostile(seed: int, number: int, songs: Sequence[Song]) -> bytes:
    """File `number` of a seed."""
    rng = random.Random(f"{seed} {number}")
    song = rng.choice(songs)
    way = rng.random()
    if way < 0.8:
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            song = rng.choice(CHANGES)(rng, song, songs)
    data = bytearray(song_bytes(song))
    if way > 0.55:
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            rng.choice(DAMAGES)(rng, data)
    return bytes(data)


def song_bytes(song: Song) -> bytes:
    parts = [b"MThd\0\0\0\6", song.format.to_bytes(2, "big"), (len(song.tracks) & 0xFFFF).to_bytes(2, "big")]
    parts.append(song.division.to_bytes(2, "big"))
    for track in song.tracks:
        body = b"".join(chain.from_iterable((*track, END)))
        parts += b"MTrk", len(body).to_bytes(4, "big"), body
    return b"".join(parts)


def own_songs() -> list[Song]:
    """Songs with what the format has: formats and divisions, running status, pedals, drums, tempi, metres, texts."""
    rng = random.Random(0)
    made = [Song(1, 480, (conductor(rng), melody(rng, 0, 40, 30), melody(rng, 9, 0, 20)))]
    made += [Song(0, 96, (conductor(rng) + melody(rng, channel, 8 * channel, 40, pedal=True),)) for channel in range(4)]
    made += [Song(1, division, (melody(rng, 0, 0, 25, running=True),)) for division in DIVISIONS[3:10]]
    made += [Song(1, 480, tuple(melody(rng, 0, 40, 6) for _ in range(12))), Song(2, 120, (melody(rng, 1, 1, 12),) * 2)]
    made += [Song(1, 24, (conductor(rng), melody(rng, 2, 24, 120, pedal=True, running=True))), Song(0, 480, ((),))]
    return made


def song_of(file: bytes) -> Song:
    """The first events of the first tracks of a sound file."""
    found: list[tuple[Event, ...]] = []
    place = 14
    while place < len(file) and len(found) < TRACKS:
        begin, place = place + 8, place + 8 + int.from_bytes(file[place + 4 : place + 8], "big")
        found.append(events_of(file[begin:place]))
    return Song(int.from_bytes(file[8:10], "big"), int.from_bytes(file[12:14], "big"), tuple(found))


def events_of(track: bytes) -> tuple[Event, ...]:
    """The first events of a track; its end is left out."""
    found: list[Event] = []
    place, status = 0, 0
    while place < len(track) and len(found) < EVENTS:
        begin = place
        place = after_number(track, place)
        wait, begin = track[begin:place], place
        if track[place] >= 0x80:
            status, place = track[place], place + 1
        if status >= 0xF0:
            size = place + (status == 0xFF)
            length = number_at(track, size)
            place = after_number(track, size) + length
        else:
            place += 1 if 0xC0 <= status < 0xE0 else 2
        if track[begin:place] != END[1]:
            found.append((wait, track[begin:place]))
    return tuple(found)


def after_number(data: bytes, place: int) -> int:
    """Where a number of variable length ends."""
    while data[place] & 0x80:
        place += 1
    return place + 1


def number_at(data: bytes, place: int) -> int:
    found = 0
    for byte in data[place : after_number(data, place)]:
        found = found << 7 | byte & 0x7F
    return found


def conductor(rng: random.Random) -> tuple[Event, ...]:
    events = [message(rng) for _ in range(12)]
    return (b"\0", b"\xff\x51\3\7\xa1\x20"), (b"\0", b"\xff\x58\4\4\2\x18\x08"), *((b"\x30", event) for event in events)


def melody(
    rng: random.Random, channel: int, program: int, count: int, pedal: bool = False, running: bool = False
) -> tuple[Event, ...]:
    """Notes one after the other, some of them chords."""
    events: list[Event] = [(b"\0", bytes([0xC0 | channel, program & 0x7F]))]
    status = bytes([0x90 | channel])
    for number in range(count):
        key, wait = rng.randrange(40, 90), variable_length(rng.choice((0, 60, 120, 240, rng.randrange(700))))
        if pedal and number % 8 == 0:
            events.append((b"\0", bytes([0xB0 | channel, 64, 127 * (number % 16 == 0)])))
        plain = running and number
        events += [(wait, (b"" if plain else status) + bytes([key, rng.randrange(1, 128)]))]
        events += [(b"\x60", (b"" if running else status) + bytes([key, 0]))]
    return tuple(events)


def message(rng: random.Random) -> bytes:
    """A message of any kind, often with an extreme value."""
    value = rng.choice((0, 1, 63, 64, 127, rng.randrange(128)))
    status, key = rng.randrange(0x80, 0xF0), rng.randrange(128)
    kind = rng.randrange(10)
    if kind < 4:
        return bytes([status, key]) + (b"" if 0xC0 <= status < 0xE0 else bytes([value]))
    if kind == 4:
        return b"\xff\x51\3" + rng.choice((0, 1, 500_000, 0xFFFFFF, rng.randrange(1 << 24))).to_bytes(3, "big")
    if kind == 5:
        return b"\xff\x58\4" + bytes(rng.choice((0, 1, 3, 4, 7, 8, 31, 32, 64, 255)) for _ in range(4))
    if kind == 6:
        return b"\xff\x59\2" + rng.choice((b"\0\0", b"\7\1", b"\xf9\0", b"\x7f\x7f", b"\x80\xff"))
    if kind == 7:
        text = rng.choice((b"", b"Violin", "Ré".encode(), b"\xff\xfe", b"\0", b"x" * 300))
        return (
            b"\xff"
            + bytes([rng.choice((1, 2, 3, 4, 5, 6, 0x20, 0x21, 0x54, 0x7F))])
            + variable_length(len(text))
            + text
        )
    if kind == 8:
        return b"\xf0" + variable_length(rng.randrange(9)) + rng.randbytes(rng.randrange(9)) + b"\xf7"
    return bytes([0xB0 | status & 15, rng.choice((0, 1, 64, 64, 120, 121, 123, 127)), value])


def with_track(rng: random.Random, song: Song, change: Callable[[list[Event]], None]) -> Song:
    """The song with one of its tracks changed."""
    if not song.tracks:
        return song
    chosen = rng.randrange(len(song.tracks))
    events = list(song.tracks[chosen])
    change(events)
    return replace(song, tracks=(*song.tracks[:chosen], tuple(events), *song.tracks[chosen + 1 :]))


def stretch(rng: random.Random, song: Song, _: Sequence[Song]) -> Song:
    """Other times: none, the longest, one written in more bytes than it needs."""

    def change(events: list[Event]) -> None:
        for _ in range(rng.choice((1, 1, 4, 16))):
            if events:
                place = rng.randrange(len(events))
                wait = rng.choice((b"\0", LONGEST, b"\x80\x80\x80\x05", variable_length(rng.randrange(1 << 28))))
                events[place] = wait, events[place][1]

    return with_track(rng, song, change)


def put_in(rng: random.Random, song: Song, _: Sequence[Song]) -> Song:
    def change(events: list[Event]) -> None:
        for _ in range(rng.choice((1, 2, 8))):
            wait = rng.choice((b"\0", b"\x01", b"\x60", LONGEST))
            events.insert(rng.randrange(len(events) + 1), (wait, rng.choice((message(rng), END[1]))))

    return with_track(rng, song, change)


def leave_out(rng: random.Random, song: Song, _: Sequence[Song]) -> Song:
    def change(events: list[Event]) -> None:
        first = rng.randrange(len(events) + 1)
        del events[first : first + rng.choice((1, 1, 2, 10, 1000))]

    return with_track(rng, song, change)


def flood(rng: random.Random, song: Song, _: Sequence[Song]) -> Song:
    """Some events again and again; seldom very often, since that takes its time."""
    times = rng.choice((2, 8, 30)) if rng.random() < 0.99 else FLOOD

    def change(events: list[Event]) -> None:
        first = rng.randrange(len(events) + 1)
        events[first:first] = events[first : first + rng.choice((1, 2, 7))] * times

    return with_track(rng, song, change)


def splice(rng: random.Random, song: Song, songs: Sequence[Song]) -> Song:
    """The beginning of one song and the end of another."""
    other = rng.choice(songs)
    if not other.tracks:
        return song
    end = rng.choice(other.tracks)

    def change(events: list[Event]) -> None:
        events[rng.randrange(len(events) + 1) :] = end[rng.randrange(len(end) + 1) :]

    return with_track(rng, song, change)


def tracks(rng: random.Random, song: Song, songs: Sequence[Song]) -> Song:
    """Tracks twice, away, in another order or from another song."""
    given = list(song.tracks)
    way = rng.randrange(4)
    if way == 0 and given:
        given += [rng.choice(given)] * rng.choice((1, 2, 20))
    elif way == 1 and given:
        given.pop(rng.randrange(len(given)))
    elif way == 2:
        given += rng.choice(songs).tracks
    rng.shuffle(given)
    return replace(song, tracks=tuple(given))


def head(rng: random.Random, song: Song, _: Sequence[Song]) -> Song:
    if rng.random() < 0.9:
        return replace(song, division=rng.choice(DIVISIONS))
    return replace(song, format=rng.choice((0, 1, 2, 3, 0xFFFF)))


CHANGES: tuple[Change, ...] = (stretch, put_in, put_in, leave_out, flood, splice, tracks, head)


def flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(EXTREMES)


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def remove(rng: random.Random, data: bytearray) -> None:
    first = rng.randrange(len(data) + 1)
    del data[first : first + rng.choice((1, 2, 3, 4, 8, 100))]


def repeat(rng: random.Random, data: bytearray) -> None:
    first = rng.randrange(len(data) + 1)
    data[first:first] = data[first : first + rng.choice((1, 2, 4, 30, 300))] * rng.choice((1, 1, 2, 20))


def insert(rng: random.Random, data: bytearray) -> None:
    first = rng.randrange(len(data) + 1)
    data[first:first] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def lengthen(rng: random.Random, data: bytearray) -> None:
    """Bytes that say that a number goes on."""
    first = rng.randrange(len(data) + 1)
    data[first:first] = rng.choice((b"\x80", b"\xff", b"\x81")) * rng.choice((1, 2, 4, 5, 9, 64))


def lie(rng: random.Random, data: bytearray) -> None:
    """Another length of a chunk, or another number of tracks."""
    places = [place for place in range(len(data) - 7) if data[place : place + 4] in CHUNKS]
    if places:
        place = rng.choice(places) + 4
        length = int.from_bytes(data[place : place + 4], "big")
        wrong = rng.choice((*LENGTHS, max(0, length - 1), length + 1, rng.randrange(2 * length + 2)))
        data[place : place + 4] = min(wrong, 0xFFFFFFFF).to_bytes(4, "big")
    if len(data) > 11 and rng.random() < 0.3:
        data[10:12] = rng.choice((0, 1, 2, 0x7FFF, 0xFFFF)).to_bytes(2, "big")


DAMAGES: tuple[Damage, ...] = (flip, flip, overwrite, overwrite, cut, remove, repeat, insert, lengthen, lie)


def damaged(rng: random.Random, data: bytes, most: int = 8) -> bytes:
    """Any bytes, damaged some times."""
    wrong = bytearray(data)
    for _ in range(rng.randint(1, most)):
        rng.choice(DAMAGES)(rng, wrong)
    return bytes(wrong)
