"""The studio as it is played.

A server with one model, the preset `small` trained for a minute on the built-in fiddle tunes (how well it plays is not
measured), and its page in a headless Chromium, all of it on two cores. After one round that is not counted:
`first_note_ms` and `first_sound_ms` are the medians, over pages opened anew, from the press of play to the frame in which
the first note is drawn, and to the moment at which the audio clock reaches the first note, the device's latency included.
`max_audio_gap_ms` is the longest hole over 60 seconds of playing: the music had to wait for sound, a block was handed to
the audio device after its time, or the device's clock fell behind. `realtime_factor` is seconds of music over seconds of
clock for one session that is not held back, without sound, the median round. `fps_5000_notes` is how many frames a second
the roll draws while 5,000 notes are in it and it plays, close up or with all of them in sight, whichever is fewer.
`sessions_at_realtime` is how many sessions play at the same time, each asking for its notes and every block of sound as
the page does, without one block that comes late; the server opens 16 at most.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from cadenza.presets import build
from cadenza.records import outcome
from cadenza.runs.stages import train
from served import API, chromium, server
from timing import arguments, needs, report

MODEL, CORES = "fiddle", 2
ROUNDS, PLAY_SECONDS, PATIENCE_SECONDS = 5, 60, 60
NOTES, NOTES_SECONDS, FRAMES_SECONDS = 5000, 200, 10
UNTHROTTLED_SECONDS, UNTHROTTLED_ROUNDS = 10, 3
CROWDS, CROWD_SECONDS = (16, 12, 10, 8, 6, 4, 2, 1), 20
BLOCK, READY, AHEAD, START = 0.4, 2.4, 4, 0.06
"""Seconds: of a block of sound, of sound kept ready, of notes made ahead, and to the first sound; those of the page."""
LATE = """{
  window.handed = -Infinity;
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, ...more) {
    window.handed = Math.max(window.handed, 1000 * (this.context.currentTime - when));
    return start.call(this, when, ...more);
  };
}"""
"""Notes how late, in milliseconds, the latest block was handed to the device; negative where each was early."""
Note = list[float]


def main() -> None:
    arguments(__doc__)
    needs(["playwright", "music21"])
    browser = chromium()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with TemporaryDirectory() as folder:
        settings = build("small", train={"minutes": 1}, corpus={"folds": 0})
        print("Training …", file=sys.stderr)
        outcome(train("fiddle", settings, Path(folder) / "runs" / MODEL))
        with server(Path(folder)) as address:
            wait_until_warm(address)
            figures, lines = through_the_page(address, browser)
            factors = [unthrottled(address, seed) for seed in range(UNTHROTTLED_ROUNDS)]
            crowd = next((number for number in CROWDS if all_in_time(address, number)), 0)
    lines += [f"music over clock, one session: {', '.join(f'{each:.0f}' for each in factors)}", f"sessions: {crowd}"]
    report(lines, {**figures, "realtime_factor": round(median(factors), 1), "sessions_at_realtime": crowd})


# The page


def through_the_page(address: str, browser: str) -> tuple[dict[str, float], list[str]]:
    """The figures of the page, and lines that say how they came about."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        starts = [started(opened, address) for _ in range(1 + ROUNDS)][1:]
        gaps, stalls, handed = played(opened, address)
        frames = [scrolled(opened, address, zoomed) for zoomed in (False, True)]
        opened.close()
    notes, sounds = ([each[place] for each in starts] for place in (0, 1))
    figures = {
        "first_note_ms": round(median(notes)),
        "first_sound_ms": round(median(sounds)),
        "max_audio_gap_ms": round(max([0.0, handed, *gaps, *stalls])),
        "fps_5000_notes": round(min(frames), 1),
    }
    return figures, [
        f"first note, ms: {', '.join(f'{each:.0f}' for each in notes)}",
        f"first sound, ms: {', '.join(f'{each:.0f}' for each in sounds)}",
        f"waits for sound, ms: {gaps or 'none'}; clock behind by more than 20 ms: {stalls or 'never'}; blocks handed over {-handed:.0f} ms early at least",
        f"frames a second, close up and all in sight: {frames[0]:.1f}, {frames[1]:.1f}",
    ]


@contextmanager
def page_of(browser: Any, address: str) -> Iterator[Any]:
    """The page in a window of its own; its session is closed in the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(LATE)
    page = context.new_page()
    page.goto(f"{address}/#/play")
    page.wait_for_selector("#play:enabled")
    page.wait_for_load_state("networkidle")
    yield page
    page.click("#anew")
    page.wait_for_selector("#anew:disabled")
    context.close()


def until(page: Any, expression: str) -> None:
    """Wait for it; `wait_for_function` would evaluate text in the page, which the page's policy forbids."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(
                f"not {expression} within {PATIENCE_SECONDS} s: {page.evaluate('JSON.stringify(studio)')}"
            )
        page.wait_for_timeout(20)


def begin(page: Any) -> None:
    page.click("#play")
    until(page, "studio.state === 'playing' && studio.firstSoundAt !== null")


def started(browser: Any, address: str) -> tuple[float, float]:
    """Milliseconds to the first note and to the first sound."""
    with page_of(browser, address) as page:
        begin(page)
        until(page, "studio.position() > 1")
        return page.evaluate("studio.firstNoteAt"), page.evaluate("studio.firstSoundAt")


def played(browser: Any, address: str) -> tuple[list[float], list[float], float]:
    """Milliseconds by which the music waited, the clock fell behind, and the latest block was late."""
    with page_of(browser, address) as page:
        begin(page)
        until(page, "studio.position() > 0.5")
        page.wait_for_timeout(1000 * PLAY_SECONDS)
        heard, waits = page.evaluate("[studio.position(), studio.gaps.map(each => each.milliseconds)]")
        if heard < PLAY_SECONDS / 2:
            raise RuntimeError(f"only {heard:.1f} s were heard in {PLAY_SECONDS} s")
        return waits, page.evaluate("studio.stalls"), page.evaluate("window.handed")


def scrolled(browser: Any, address: str, all_in_sight: bool) -> float:
    """Frames a second of a roll with many notes while it plays."""
    with page_of(browser, address) as page:
        asked = {"model": MODEL, "seed": 1, "controls": {}}
        session = request(address, "/sessions", asked | {"prompt": many_notes()})["id"]
        memory = {"session": session, "asked": asked, "given": 0, "name": None, "at": 20}
        page.evaluate("memory => sessionStorage.setItem('session', JSON.stringify(memory))", memory)
        page.reload()
        until(page, f"studio.notes().length >= {NOTES}")
        if all_in_sight:
            for _ in range(20):
                page.keyboard.press("-")
        page.keyboard.press("Space")
        until(page, "studio.state === 'playing' && studio.position() > 21")
        counts = []
        for _ in range(FRAMES_SECONDS):
            page.wait_for_timeout(1000)
            counts.append(page.evaluate("studio.fps"))
        return sum(counts) / len(counts)


def many_notes() -> list[Note]:
    """Chords of ten, as many as make up the number."""
    apart = NOTES_SECONDS / (NOTES // 10)
    return [[round(apart * chord, 4), 40 + 4 * k + chord % 4, round(0.9 * apart, 4), 20 + 10 * k] for chord in range(NOTES // 10) for k in range(10)]  # fmt: skip


# The server


def request(address: str, path: str, body: object = None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(
        f"{address}{API}{path}", data, {"content-type": "application/json"}, method=method or None
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
        content = answer.read()
    return json.loads(content) if content.startswith((b"{", b"[")) else content


@contextmanager
def session_of(address: str, seed: int) -> Iterator[str]:
    made = request(address, "/sessions", {"model": MODEL, "seed": seed})["id"]
    yield f"/sessions/{made}"
    request(address, f"/sessions/{made}", method="DELETE")


def lines_of(address: str, session: str, ahead: float) -> Iterator[dict[str, Any]]:
    """What a stream says, until nobody listens."""
    with urllib.request.urlopen(f"{address}{API}{session}/stream?ahead={ahead}", timeout=PATIENCE_SECONDS) as stream:
        for line in stream:
            yield json.loads(line)


def wait_until_warm(address: str) -> None:
    """Until notes and sound have been made once: what is compiled then lies ready."""
    with session_of(address, 0) as session:
        next(line for line in lines_of(address, session, AHEAD) if line.get("clock", 0) > 1)
        request(address, f"{session}/sound?from=0&to=1")


def unthrottled(address: str, seed: int) -> float:
    """Seconds of music over seconds of clock."""
    with session_of(address, seed) as session:
        begin = time.perf_counter()
        music = 0.0
        for line in lines_of(address, session, 0):
            music, seconds = line.get("clock", line.get("end", music)), time.perf_counter() - begin
            if "end" in line or seconds > UNTHROTTLED_SECONDS:
                break
        return music / seconds


def all_in_time(address: str, number: int) -> bool:
    """Whether so many sessions at once each get their music before it is due."""
    with ThreadPoolExecutor(2 * number) as pool:
        late = list(pool.map(lambda seed: lateness(address, seed, pool), range(number)))
    words = "late" if max(late) > 0 else "early at least"
    print(f"{number} sessions: {1000 * abs(max(late)):.0f} ms {words}", file=sys.stderr)
    return max(late) <= 0


def lateness(address: str, seed: int, pool: ThreadPoolExecutor) -> float:
    """Seconds by which the first block that was late came after it was due; negative, and least, where all came early.

    As the page does: a block is asked for once its notes are known and little sound is left, and the first that comes begins the clock.
    """
    with session_of(address, seed) as session:
        known, onsets = [0.0], []

        def listen() -> None:
            for line in lines_of(address, session, AHEAD):
                known[0] = max(known[0], line.get("clock", 0))
                onsets.extend([line["n"][0]] if "n" in line else [])
                if "taken" in line:
                    return

        listening = pool.submit(listen)
        began, ready, latest = 0.0, 0.0, -READY
        while ready < CROWD_SECONDS and latest <= 0:
            if known[0] < ready + BLOCK or (began and ready - (time.perf_counter() - began) > READY):
                if listening.done():
                    listening.result()
                time.sleep(0.02)
                continue
            if any(ready - 1e-6 <= onset < ready + BLOCK - 1e-6 for onset in onsets):
                request(address, f"{session}/sound?from={ready:.4f}&to={ready + BLOCK:.4f}")
            now = time.perf_counter()
            began = began or now + START
            latest = max(latest, now - began - ready)
            ready += BLOCK
        return latest


if __name__ == "__main__":
    main()
