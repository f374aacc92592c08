"""The studio of a folder, served while it is needed, and the browser that visits it.

In: a folder with runs. Out: the server's address; the path of a Chromium.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timing import give_up

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BEGIN_SECONDS = 300
API = "/api/v1"


def chromium() -> str:
    """Where it is installed; without it the benchmark ends with exit code 2."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        give_up(f"This needs a browser, one of {', '.join(BROWSERS)}; install Chromium (on Debian: apt-get install chromium).")  # fmt: skip
    return found


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The studio of a folder, while it is needed; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cadenza", "studio", "--folder", str(folder), "--port", str(port), "--no-open"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    address = f"http://127.0.0.1:{port}"
    try:
        wait(f"{address}{API}/models")
        yield address
    finally:
        process.terminate()
        process.wait()


def wait(address: str) -> None:
    end = time.monotonic() + BEGIN_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
