"""Pictures of every view of the studio's page, light and dark, on a desk and on a phone, from a real server.

In: a studio's folder (best with music, a run and a kept piece in it). Out: PNG files, named view-colours-size.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from served import chromium, server

SIZES = {"desk": (1280, 800), "phone": (375, 812)}
VIEWS = {
    "play": "#roll-text",
    "music": "#view-music .detail > *",
    "train": "#view-train .detail > *",
    "results": ".pieces > *",
}
"""What shows in each that its content is there."""
PLAY_SECONDS = 9


def visit(page: Page, address: str, out: Path, name: str) -> None:
    """Every view at rest, and what only shows when one does something."""
    narrow = page.evaluate("innerWidth") < 800
    for view, content in VIEWS.items():
        page.goto(f"{address}/#/{view}")
        page.wait_for_load_state("networkidle")
        page.wait_for_selector(content)
        page.wait_for_timeout(600)
        page.screenshot(path=out / f"{view}-{name}.png", full_page=view != "play" or narrow)
    page.goto(f"{address}/#/play")
    if page.locator("#play").is_enabled():
        page.click("#play")
        page.wait_for_timeout(1000 * PLAY_SECONDS)
        page.screenshot(path=out / f"playing-{name}.png")
        page.keyboard.press("z")
        page.wait_for_timeout(800)
        page.screenshot(path=out / f"undone-{name}.png")
        page.keyboard.press("Space")
    page.keyboard.press("?")
    page.screenshot(path=out / f"keys-{name}.png")
    page.keyboard.press("Escape")
    page.click(".more summary")
    page.locator(".more").scroll_into_view_if_needed()
    page.screenshot(path=out / f"more-{name}.png")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--folder", type=Path, required=True)
    given.add_argument("--out", type=Path, required=True)
    asked = given.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with server(asked.folder) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for size, (width, height) in SIZES.items():
            for colours in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=colours, has_touch=size == "phone",
                    device_scale_factor=2 if size == "phone" else 1,
                )  # fmt: skip
                visit(context.new_page(), address, asked.out, f"{colours}-{size}")
                context.close()
        browser.close()
    print(f"{len(list(asked.out.glob('*.png')))} pictures in {asked.out}")


if __name__ == "__main__":
    main()
