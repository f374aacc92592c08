"""The studio's page in a real browser, on a real server with real models: its story, its manners, who can use it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import cadenza
from cadenza import midi
from conftest import Midi

sync_api = pytest.importorskip("playwright.sync_api", reason="the page is not tested: playwright is not installed")
axe_api = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="the page is not tested: axe is not installed"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="THE STUDIO'S PAGE IS NOT TESTED: no Chromium is installed"),
]
Page = Any
Opener = Callable[..., Page]
TINY: dict[str, Any] = {
    "corpus": {"folds": 0},
    "model": {"layers": 1, "width": 32},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 8, "evaluations": 2, "threads": 1},
    "sample": {"seconds": 6, "count": 1},
}
VIEWS = ("play", "music", "train", "results")
DESK, PHONE = (1280, 800), (375, 812)
WAIT = 120_000
"""Milliseconds: loops are compiled when they are first needed, and the machine may be busy."""


class Server:
    """The studio of a folder, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.begin()

    def begin(self) -> None:
        command = [
            sys.executable,
            "-m",
            "cadenza",
            "studio",
            "--folder",
            str(self.folder),
            "--port",
            str(self.port),
            "--no-open",
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        end = time.monotonic() + WAIT / 1000
        while True:
            try:
                httpx.get(f"{self.address}/api/v1/models", timeout=10)
                return
            except httpx.TransportError:
                if time.monotonic() > end:
                    self.kill()
                    pytest.fail((self.folder / "server.log").read_text())
                time.sleep(0.1)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        """Without a word, as when the computer is switched off."""
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Iterator[Server]:
    """A studio with two small trained runs."""
    music, studio = tmp_path_factory.mktemp("music"), tmp_path_factory.mktemp("studio")
    for seed in range(6):
        (music / f"piece-{seed}.mid").write_bytes(smf.piece(seed, grid=1))
    cadenza.run(music, studio / "runs" / "one", preset="tiny", **TINY)
    cadenza.run(music, studio / "runs" / "two", preset="tiny", **TINY | {"batches": {"rows": 32, "size": 2}})
    running = Server(studio)
    yield running
    running.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        opened = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


def until(page: Page, expression: str) -> None:
    """Wait; Playwright's own way would evaluate text in the page, which the page's policy forbids."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not {expression}; {page.evaluate('JSON.stringify(studio)')}"
        page.wait_for_timeout(50)


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Opener]:
    """Opens a view; afterwards the page must not have complained, nor asked another host for anything."""
    contexts, complaints, hosts = [], [], set()

    def opened(view: str, size: tuple[int, int] = DESK, colours: str = "light", quiet: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=colours, has_touch=size == PHONE
        )
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        if quiet:
            page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url) if request.url.startswith("http") else None)
        page.goto(f"{server.address}/#/{view}")
        until(page, "document.body.dataset.view !== undefined")
        page.wait_for_load_state("networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in hosts if not url.startswith(server.address + "/")} == set()


def begin(page: Page, model: str = "one") -> None:
    """Play, until there is sound."""
    page.select_option("#model", model)
    page.click("#play")
    until(page, "studio.firstSoundAt !== null && studio.state === 'playing'")


@contextmanager
def down(server: Server) -> Iterator[None]:
    """The server is killed, and there again afterwards."""
    server.kill()
    try:
        yield
    finally:
        server.begin()


def held(page: Page, what: str) -> Any:
    return page.evaluate(f"studio.{what}")


def test_from_files_to_a_model_that_plays(visit: Opener, smf: Midi, tmp_path: Path) -> None:
    for seed in range(24):
        (tmp_path / f"tune-{seed}.mid").write_bytes(smf.piece(100 + seed))
    (tmp_path / "broken.mid").write_bytes(b"no music")
    page = visit("music")
    page.set_input_files("#music-files", sorted(tmp_path.glob("*.mid")))
    page.wait_for_selector("table.findings tbody tr >> nth=24", timeout=WAIT)
    assert page.locator("table.findings tbody tr").count() == 25
    page.click("label.segment:has-text('Left out')")
    row = page.locator("table.findings tbody tr")
    assert row.count() == 1
    assert "broken.mid" in row.inner_text() and len(row.locator(".reason").inner_text()) > 10
    page.click("label.segment:has-text('Kept')")
    page.click("table.findings button.link >> nth=0")
    assert "60 notes" in page.locator(".rollbox canvas").get_attribute("aria-label")

    page.click("text=Train on it")
    page.check("input[value=tiny]")
    page.fill("#run-minutes", "1")
    page.fill("#run-name", "first steps")
    page.click("#run-go")
    page.wait_for_selector(".badge.training", timeout=WAIT)
    page.wait_for_selector("svg.chart circle.validation", timeout=WAIT)
    page.wait_for_selector(".samples .clip", timeout=WAIT)
    assert re.search(r"\d+ of \d+", page.locator("#view-train .facts").inner_text())
    page.click(".samples .clip button")
    page.wait_for_selector(".samples .clip button[aria-label^=Pause]")
    page.click("#run-stop")
    page.wait_for_selector(".badge.stopped", timeout=WAIT)

    page.click("text=Play with it")
    assert page.locator("#model option:checked").inner_text() == "first steps"
    page.click("#play")
    until(page, "studio.firstSoundAt !== null")
    assert held(page, "firstNoteAt") <= held(page, "firstSoundAt")


def test_playing_steering_undoing_keeping(visit: Opener, tmp_path: Path) -> None:
    page = visit("play")
    begin(page)
    until(page, "studio.position() > 1.5")
    page.locator("#dial-temperature").focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    until(page, "studio.steered.length > 0")
    assert held(page, "requests.changesAtOnce") == 1
    assert max(held(page, "steered")) < 2000

    before = held(page, "notes()")
    until(page, "studio.position() > 5")
    page.keyboard.press("z")
    until(page, "studio.position() < 4 && studio.state === 'playing'")
    undone = held(page, "position()")
    until(page, f"studio.notes().some(note => note[0] > {undone} && note[0] < studio.position() - 0.5)")
    after = held(page, "notes()")
    assert [note for note in before if note[0] < 0.9] == [note for note in after if note[0] < 0.9]
    assert before != after[: len(before)]

    with page.expect_download() as download:
        page.click("#download-mid")
    download.value.save_as(tmp_path / "taken.mid")
    assert len(midi.read(tmp_path / "taken.mid")) > 0  # as far as it was heard
    page.fill("#keep-name", "An afternoon")
    page.click("#keep")
    page.wait_for_selector("text=Kept “An afternoon”")
    page.keyboard.press("Escape")

    page.goto(page.url.split("#")[0] + "#/results")
    piece = page.locator("article.piece", has_text="An afternoon")
    piece.locator(".originality:not(.pending)").wait_for(timeout=WAIT)
    assert "notes" in piece.locator(".clip canvas").get_attribute("aria-label")
    piece.locator("button[aria-label^=Delete]").click()
    page.click("dialog button:has-text('Delete')")
    piece.wait_for(state="detached")


def test_after_steering_every_note_sounds(visit: Opener) -> None:
    page = visit("play")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method + " " + request.url.split("/sessions/")[-1]))
    begin(page)
    page.wait_for_timeout(3000)  # so that sound is ready far ahead
    for key in ("ArrowRight", "ArrowLeft", "ArrowRight"):
        page.locator("#dial-temperature").focus()
        page.keyboard.press(key)
        page.wait_for_timeout(1200)
    page.wait_for_timeout(5000)
    now, notes = held(page, "position()"), held(page, "notes()")
    last = max(i for i, each in enumerate(asked) if each.startswith("PATCH"))
    spans = [tuple(map(float, re.findall(r"[\d.]+", each.split("?")[1]))) for each in asked[last:] if "/sound?" in each]
    edge = min(begin for begin, _ in spans)
    assert edge < now  # it steered within the time that was waited
    due = [note[0] for note in notes if edge <= note[0] < now]
    assert due
    assert all(any(begin <= onset < end for begin, end in spans) for onset in due)


def test_runs_are_compared(visit: Opener) -> None:
    page = visit("results")
    page.check("input[aria-label='Compare one']")
    page.check("input[aria-label='Compare two']")
    page.wait_for_selector(".comparison tbody tr >> nth=1")
    assert page.locator(".comparison .bad").count() == 0


def test_going_on_from_notes_that_were_drawn(visit: Opener) -> None:
    page = visit("play")
    box = page.locator(".window").bounding_box()
    for k in range(3):
        page.mouse.click(box["x"] + 30 + 90 * k, box["y"] + 200 - 20 * k)
    assert page.locator("#roll-text").inner_text().startswith("3 notes")
    page.mouse.click(box["x"] + 30, box["y"] + 200)
    assert page.locator("#roll-text").inner_text().startswith("2 notes")
    page.locator(".window").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator("#roll-text").inner_text().startswith("3 notes")
    begin(page)
    until(page, "studio.notes().length > 6")
    assert "Your notes: 3 notes" in page.locator(".given").inner_text()


def test_after_a_reload_the_music_is_still_there(visit: Opener) -> None:
    page = visit("play")
    begin(page)
    until(page, "studio.position() > 1")
    page.keyboard.press("Space")
    until(page, "studio.state === 'paused'")
    notes = held(page, "notes()")
    page.reload()
    until(page, "studio.notes().length > 0")
    assert held(page, "notes()")[: len(notes)] == notes


def test_a_second_tab_takes_over_and_the_first_says_so(visit: Opener) -> None:
    page = visit("play")
    begin(page)
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    other = page.context.new_page()
    other.goto(page.url)
    other.evaluate(
        "memory => sessionStorage.setItem('session', memory)", page.evaluate("sessionStorage.getItem('session')")
    )
    other.reload()
    until(other, "studio.notes().length > 0")
    other.click("#play")
    until(other, "studio.state === 'playing'")
    page.wait_for_selector("text=It is played in another tab")
    assert page.locator("button:has-text('Play here')").is_visible()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_everybody_can_use_every_view(visit: Opener, colours: str, size: tuple[int, int]) -> None:
    for view in VIEWS:
        page = visit(view, size, colours)
        if view == "play":
            page.click(".more summary")
        found = axe_api.Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], f"{view}: {serious}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_touch_targets_are_large_enough_on_a_phone(visit: Opener) -> None:
    small = """() => [...document.querySelectorAll('a, button, select, input:not(.hidden):not([type=checkbox]):not([type=radio]), summary')]
        .filter(each => each.checkVisibility() && !each.closest('.hidden, p') && !each.matches('.skip'))
        .map(each => [each.outerHTML.slice(0, 90), each.getBoundingClientRect()])
        .filter(([, box]) => box.height < 43.5 || box.width < 43.5).map(([name, box]) => `${name} ${box.width}x${box.height}`)"""
    for view in VIEWS:
        assert visit(view, PHONE).evaluate(small) == [], view


def test_an_empty_studio_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    running = Server(tmp_path)
    page = browser.new_page()
    try:
        for view, words in zip(
            VIEWS, ("Bring music", "No music yet", "No training yet", "Nothing kept yet"), strict=True
        ):
            page.goto(f"{running.address}/#/{view}")
            page.wait_for_selector(f"text={words} >> visible=true")
            assert page.locator(f"#view-{view}").is_visible()
    finally:
        page.close()
        running.end()


# When something goes wrong


def test_when_the_server_vanishes_the_page_says_so_and_goes_on_once_it_is_back(visit: Opener, server: Server) -> None:
    page = visit("play", quiet=False)
    begin(page)
    until(page, "studio.position() > 2")
    with down(server):
        page.wait_for_selector("#gone:visible")
        assert "does not answer" in page.locator("#gone").inner_text()
        until(page, "studio.state === 'gone'")
        assert "goes on when it is back" in page.locator(".status").inner_text()
        at, before = held(page, "position()"), held(page, "notes()")
    page.locator("#gone").wait_for(state="hidden")
    until(page, f"studio.state === 'playing' && studio.position() > {at} + 3")
    heard = [note for note in before if note[0] <= at]
    assert held(page, "notes()")[: len(heard)] == heard
    assert page.locator(".toast.bad").count() == 0


def test_the_page_loads_and_plays_with_the_network_cut_off(visit: Opener, server: Server) -> None:
    page = visit("play")
    blocked: list[str] = []

    def gate(route: Any) -> None:
        if route.request.url.startswith(f"{server.address}/"):
            route.continue_()
        else:
            blocked.append(route.request.url)
            route.abort()

    page.context.route(re.compile(".*"), gate)
    page.reload()
    for view in VIEWS[1:] + VIEWS[:1]:
        page.click(f"nav a[data-view={view}]")
        page.wait_for_load_state("networkidle")
    begin(page)
    until(page, "studio.position() > 2")
    assert blocked == []


def test_files_that_are_no_music_are_words(visit: Opener, tmp_path: Path) -> None:
    text = tmp_path / "letter.mid"
    text.write_text("Dear reader, this is no music.")
    page = visit("play", quiet=False)
    page.set_input_files("#prompt", text)
    page.wait_for_selector(".toast.bad:has-text('letter.mid')")
    begin(page)  # and the page is as it was

    page = visit("music")
    page.set_input_files("#music-files", text)
    page.wait_for_selector(".findings tbody:has-text('letter.mid') .reason")
    assert page.locator(".detail .bad").inner_text().endswith(".")


NAMES = ("$(touch pwned).mid", "`touch pwned`.mid", "<img src=x onerror=alert(1)>.mid", "-rf.mid", "a;b & c|d.mid")
DROP = """([names, bytes]) => {
    const dropped = new DataTransfer();
    for (const name of names) dropped.items.add(new File([Uint8Array.from(bytes)], name));
    document.getElementById('view-music').dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true }));
}"""


def test_names_with_a_meaning_elsewhere_are_names(visit: Opener, server: Server, smf: Midi) -> None:
    before = {path for path in server.folder.parent.rglob("*") if "pwned" in path.name or "escaped" in path.name}
    page = visit("music")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.evaluate(DROP, [[*NAMES, "../../escaped.mid"], list(smf.piece(7))])
    page.wait_for_selector(f".findings tbody:has-text('{NAMES[-1]}')")
    shown = page.locator(".findings tbody").inner_text()
    assert all(name in shown for name in NAMES)
    assert "escaped" not in shown
    after = {path for path in server.folder.parent.rglob("*") if "pwned" in path.name or "escaped" in path.name}
    assert after == before

    page.goto(f"{server.address}/#/play")
    begin(page)
    until(page, "studio.position() > 1.5")
    page.fill("#keep-name", "../$(touch pwned)<b>")
    page.click("#keep")
    page.wait_for_selector("text=Kept “../$(touch pwned)<b>”")
    assert not list(server.folder.parent.rglob("*pwned)*"))


def test_too_much_is_refused_in_words(visit: Opener, tmp_path: Path) -> None:
    def sparse(name: str, size: int) -> Path:
        with (tmp_path / name).open("wb") as out:
            out.truncate(size)
        return tmp_path / name

    page = visit("music", quiet=False)
    for name, size in (("symphony.mid", 65 << 20), ("library.zip", 501 << 20)):
        page.set_input_files("#music-files", sparse(name, size))
        said = page.locator(".toast.bad").last
        said.wait_for()
        assert "MiB" in said.inner_text()
        assert not page.locator("#gone").is_visible()
        said.locator(".close").click()
    page.evaluate(DROP, [[f"{number}.mid" for number in range(10_001)], []])
    page.wait_for_selector(".toast.bad:has-text('10,001 files')")


def test_a_model_of_another_version_is_words(visit: Opener, server: Server) -> None:
    run = server.folder / "runs" / "tomorrow"
    shutil.copytree(server.folder / "runs" / "one", run)
    try:
        data = (run / "model.safetensors").read_bytes()
        length = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + length])
        about = head["__metadata__"]
        about["cadenza-model"] = about["cadenza-model"].replace('"version": ', '"version": 99', 1)
        text = json.dumps(head).encode()
        (run / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        page = visit("train")
        page.click(".list button:has-text('tomorrow')")
        page.wait_for_selector(".detail p.bad:visible")
        assert "a model of format 99" in page.locator(".detail p.bad:visible").inner_text()
        page.click("nav a[data-view=play]")
        page.wait_for_selector("#model option", state="attached")
        assert "tomorrow" not in page.locator("#model").inner_text()
    finally:
        shutil.rmtree(run)


def test_a_slider_that_is_dragged_wildly_ends_where_it_was_let_go(visit: Opener) -> None:
    page = visit("play")
    begin(page)
    until(page, "studio.position() > 1")
    page.evaluate("""async () => {
        const dial = document.getElementById('dial-temperature');
        for (let k = 0; k < 200; k += 1) {
            dial.value = k === 199 ? 1.25 : 0.3 + (k % 28) * 0.05;
            dial.dispatchEvent(new Event('input', { bubbles: true }));
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    }""")
    session = "JSON.parse(sessionStorage.getItem('session')).session"
    now = f"fetch('/api/v1/sessions/' + {session}).then(got => got.json()).then(found => found.controls.temperature === 1.25)"
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    until(page, now)
    assert held(page, "requests.changesAtOnce") == 1 and held(page, "requests.changes") < 20
    at = held(page, "position()")
    until(page, f"studio.state === 'playing' && studio.position() > {at} + 1")
    assert page.locator(".toast.bad").count() == 0


def test_a_clock_that_jumps_changes_nothing(visit: Opener) -> None:
    page = visit("play")
    page.add_init_script("""{
        const now = Date.now.bind(Date);
        let jumps = 0;
        Date.now = () => now() + ((jumps += 1) % 2 ? 864e5 : -864e5);
    }""")
    page.reload()
    begin(page)
    until(page, "studio.position() > 3")
    sources = (Path(cadenza.__file__).parent / "web" / "static" / "js").glob("*.js")
    assert [path.name for path in sources if re.search(r"Date\.now|new Date\(\)", path.read_text())] == []


def bring_and_train(page: Page, smf: Midi, folder: Path, name: str) -> None:
    """A training under way, with its first evaluation."""
    for seed in range(12):
        (folder / f"tune-{seed}.mid").write_bytes(smf.piece(200 + seed))
    page.set_input_files("#music-files", sorted(folder.glob("*.mid")))
    page.wait_for_selector(".detail h2:has-text('12 files')")
    page.click("text=Train on it")
    page.check("input[value=tiny]")
    page.fill("#run-minutes", "3")
    page.fill("#run-name", name)
    page.click("#run-go")
    page.wait_for_selector(f".detail:has(h2:text-is('{name}')) svg.chart circle.validation")


def test_a_training_whose_server_was_killed_is_resumed_from_the_page(
    visit: Opener, server: Server, smf: Midi, tmp_path: Path
) -> None:
    page = visit("music", quiet=False)
    bring_and_train(page, smf, tmp_path, "interrupted")
    with down(server):
        page.wait_for_selector("#gone:visible")
    page.wait_for_selector(".detail .badge.stopped")
    page.click("#run-resume")
    page.wait_for_selector(".detail .badge.training")
    page.click("#run-stop")
    page.wait_for_selector(".detail .badge.stopped")
    assert not page.locator(".detail p.bad").is_visible()


def test_two_tabs_follow_one_training(visit: Opener, smf: Midi, tmp_path: Path) -> None:
    one = visit("music")
    bring_and_train(one, smf, tmp_path, "watched twice")
    other = visit("train")
    other.click(".list button:has-text('watched twice')")
    other.wait_for_selector(".detail .badge.training")
    other.click("#run-stop")
    for page in (one, other):
        page.wait_for_selector(".detail .badge.stopped")
    one.click("#run-resume")
    for page in (one, other):
        page.wait_for_selector(".detail .badge.training")
    one.click("#run-stop")
    for page in (one, other):
        page.wait_for_selector(".detail .badge.stopped")
        assert page.locator("#view-train .detail h2").first.inner_text() == "watched twice"


def test_every_shortcut_answers(visit: Opener) -> None:
    page = visit("play", quiet=False)
    for key in "kz":
        page.keyboard.press(key)
    assert "play first" in page.locator(".toast").first.inner_text()
    page.keyboard.press("Space")
    until(page, "studio.state === 'playing' && studio.position() > 3")
    page.keyboard.press("ArrowLeft")
    until(page, "studio.position() < 3")
    page.keyboard.press("Home")
    until(page, "studio.position() < 1")
    page.keyboard.press("End")
    until(page, "studio.position() > 2 && studio.state === 'playing'")
    page.locator("#dial-temperature").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("k")  # right after steering there may be nothing to keep, or there is
    page.locator(".toast:has-text('Kept'), .toast.bad").first.wait_for()
    page.keyboard.press("?")
    page.wait_for_selector("dialog:has-text('Keyboard')")
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    until(page, "studio.state === 'paused'")
