"""A picture of an explorer as people see it: served by Voila, opened in Chromium."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from reidlab.workbook.supervise import stop_tree
from reidlab.workbook.voila_server import HOST, voila_command, voila_environment

__all__ = ["photograph"]

START, SHOWN = 60, 180  # seconds until the server answers, and until the page shows what is waited for
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def photograph(code: str, ready: str, path: Path, *, width: int = 1100, height: int = 900) -> None:
    """Run code as the only cell of a page and keep what the page looks like.

    Args:
        code: Python whose last expression is shown.
        ready: CSS selector of what must be there first.
        path: of the picture, PNG.
        width, height: of the window, in pixels.

    Raises:
        SystemExit: Chromium is missing, or the server does not start.
    """
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("chromium is missing (Debian: apt-get install chromium): no explorer can be photographed.")
    with _served(code) as address, sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = running.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto(address, timeout=SHOWN * 1000)
        page.wait_for_selector(ready, timeout=SHOWN * 1000)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(2_000)  # thumbnails come one after the other
        page.locator(".reid-explorer").first.screenshot(path=path)
        running.close()


@contextmanager
def _served(code: str) -> Iterator[str]:
    """Serve one cell on this machine and give its address; the server and its kernel end with the context."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="reidlab-picture-") as folder:
        notebook = Path(folder) / "picture.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata={"kernelspec": KERNEL}), notebook)
        quiet = {**os.environ, **voila_environment(token)}
        process = subprocess.Popen(voila_command(notebook, port, tracebacks=True), env=quiet, stdout=sys.stderr)
        try:
            _await(f"http://{HOST}:{port}/", process)
            yield f"http://{HOST}:{port}/?token={token}"
        finally:
            stop_tree(process)


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it asks for the token
        except OSError:
            time.sleep(0.3)
    raise SystemExit("Voila did not start; its messages stand above.")
