"""Notebooks served on this machine, by Voila as pages or by JupyterLab, for a browser to open.

A server is a process of its own with a folder, a token and a reports folder of its own; when it is closed, it and all its
kernels are gone. `Served` is what a page did, as `Visit` in conftest.py; requests that would leave the machine are
recorded and aborted, but for the two style sheets of Font Awesome that Voila's page asks for and does not need.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from reidlab.workbook.supervise import stop_tree
from reidlab.workbook.voila_server import HOST, voila_command, voila_environment

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "reports" / "screenshots"  # looked at by people; git ignores it
START_SECONDS = 60
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """A server of the notebooks in a folder.

    Attributes:
        folder: what is served.
        reports: the reports folder of its kernels.
        address: begins the addresses of its pages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder / "notebooks", folder / "reports"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.reports.mkdir(exist_ok=True)
        self.token, self.port = secrets.token_hex(16), free_port()
        self.address = f"http://{HOST}:{self.port}"
        self.log = folder / "server.log"
        # the kernels of pages that are open at once share the cores
        own = dict.fromkeys(THREADS, "1") | {"REIDLAB_REPORTS": str(self.reports), "JUPYTER_RUNTIME_DIR": str(folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**self.environment(), **own}
            )
        self._await()

    def command(self) -> list[str]:
        return voila_command(self.folder, self.port, tracebacks=True)

    def environment(self) -> dict[str, str]:
        return voila_environment(self.token)

    def url(self, name: str) -> str:
        """Return the address of a notebook's page, with the token."""
        return f"{self.address}/voila/render/{name}?token={self.token}"

    def place(self, notebook: Path | Sequence[str]) -> str:
        """Put a notebook, or one of the cells, into the folder and return its name; "# ..." cells are text."""
        if isinstance(notebook, Path):
            shutil.copy(notebook, self.folder / notebook.name)
            return notebook.name
        cells = [new_markdown_cell(text) if text.startswith("# ") else new_code_cell(text) for text in notebook]
        name = f"page-{len(list(self.folder.glob('page-*')))}.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), self.folder / name)
        return name

    def close(self) -> None:
        stop_tree(self.process)

    def said(self) -> str:
        """Return the last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _await(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/api/status?token={self.token}", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return  # Voila has no such page, and says so
            except OSError:
                time.sleep(0.1)
        self.close()
        raise RuntimeError(f"the server did not answer; it said:\n{self.said()}")


class Lab(Server):
    """JupyterLab, with settings of its own."""

    def command(self) -> list[str]:
        options = {
            "ServerApp.ip": HOST,
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder,
            "ServerApp.allow_root": True,
            "ServerApp.open_browser": False,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "LabApp.extension_manager": "readonly",
        }
        return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]

    def environment(self) -> dict[str, str]:
        own = {
            name: str(self.folder.parent / name) for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
        }
        told = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text('{"fetchNews": "false"}')  # otherwise it asks, in a window that lies over the page
        return {**os.environ, **own, "JUPYTER_TOKEN": self.token}

    def url(self, name: str) -> str:
        return f"{self.address}/lab/tree/{name}?reset&token={self.token}"


class Served:
    """A page of a server, and what it did: `requests` beyond this machine, `console` messages, uncaught `errors`.

    Attributes:
        page: of playwright.
    """

    def __init__(self, context: Any, server: Server) -> None:
        self.server = server
        self.requests: list[str] = []
        self.console: list[str] = []
        self.errors: list[str] = []
        context.route(lambda address: urlsplit(address).netloc != f"{HOST}:{server.port}", self._elsewhere)
        context.on("console", self._printed)
        context.on("weberror", lambda error: self.errors.append(str(error.error)[:500]))
        self.page = context.new_page()

    @property
    def quiet(self) -> bool:
        """Whether it asked for nothing elsewhere, printed no error and raised none."""
        return not (self.requests or self.console or self.errors)

    def happened(self) -> str:
        """Return all that happened, for the message of a test that fails."""
        kept = {name: getattr(self, name) for name in ("requests", "console", "errors") if getattr(self, name)}
        return f"{kept}\n{self.server.said()}"

    def forget(self) -> None:
        """Begin anew, where a test provoked what it has looked at."""
        for kept in (self.requests, self.console, self.errors):
            kept.clear()

    def shot(self, name: str, *, whole: bool = True) -> Path:
        """Save what is seen as reports/screenshots/NAME.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path

    def widest(self) -> int:
        """Return how many pixels what is shown needs across: more than the window has is too wide."""
        found = self.page.evaluate(
            "() => Math.max(document.documentElement.scrollWidth,"
            " ...[...document.querySelectorAll('#rendered_cells')].map(e => e.scrollWidth))"
        )
        return int(found)

    def kernel(self) -> str:
        """Return the id of the page's kernel."""
        return str(json.loads(self.page.locator("#jupyter-config-data").text_content())["kernelId"])

    def _elsewhere(self, route: Any) -> None:
        address = route.request.url
        if not address.startswith(("data:", "blob:")):
            self.requests.append(address)
        route.abort()

    def _printed(self, message: Any) -> None:
        # Voila's page names a font of icons on a CDN; our policy refuses it, which the browser prints
        if message.type == "error" and not (
            "fontawesome" in message.text and "Content Security Policy" in message.text
        ):
            self.console.append(message.text[:500])
