"""Notebooks as pages: Voila on this machine alone, behind a token, in a process that ends with the one that started it.

`python -m reidlab.workbook.voila_server` is Voila's own command with that addition; the token comes in the environment,
where other users of the machine cannot read it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from reidlab.errors import UserError
from reidlab.paths import CALLED_FROM
from reidlab.progress import PROGRESS
from reidlab.workbook.frugal import forgo

__all__ = ["HOST", "check_voila", "main", "voila_command", "voila_environment"]

HOST = "127.0.0.1"
_IDLE = 900  # seconds after which the kernel of a page that nobody has open any more is ended
_LOOK = 30  # seconds between two looks for such kernels
# of JupyterLab; what else is installed there was made for JupyterLab alone
_EXTENSIONS = ("@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget")
# nothing comes from or goes to another host: Voila's page would load the font of icons from a CDN, though none is used
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


def check_voila() -> None:
    """Refuse to go on without Voila.

    Raises:
        UserError: it is not installed, with the command that installs it.
    """
    if importlib.util.find_spec("voila") is None:
        raise UserError('Voila, which serves notebooks as pages, is not installed: pip install "reidlab[explore]".')


def voila_command(target: Path, port: int, *, tracebacks: bool = False) -> list[str]:
    """Return the command that serves a notebook, or all notebooks of a folder.

    Args:
        target: the notebook's file, or the folder.
        port: of this machine; another one is not tried.
        tracebacks: show what a failing cell raised in the page.
    """
    headers = {"headers": {"Content-Security-Policy": _POLICY}}
    return [
        sys.executable, "-m", __name__, str(target), "--no-browser", f"--Voila.ip={HOST}", f"--port={port}",
        "--Voila.port_retries=0", "--Voila.auto_token=True", f"--show_tracebacks={tracebacks}",
        f"--VoilaConfiguration.extension_allowlist={list(_EXTENSIONS)}",
        f"--Voila.tornado_settings={headers}",
        f"--MappingKernelManager.cull_idle_timeout={_IDLE}", f"--MappingKernelManager.cull_interval={_LOOK}",
    ]  # fmt: skip


def voila_environment(token: str) -> dict[str, str]:
    """Return the environment of the server, which is also that of the kernels of its pages.

    Args:
        token: without which no page is given out.
    """
    quiet = {"TQDM_DISABLE": "1", PROGRESS: os.devnull}  # bars that have vanished would leave errors in the page
    return {**os.environ, **quiet, "JUPYTER_TOKEN": token, CALLED_FROM: str(Path.cwd())}


def main() -> None:
    """Serve until told to stop, or until the process that started this one is gone."""
    forgo()
    from voila.app import Voila

    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    app = Voila.instance()
    app.initialize()
    app.voila_configuration.prelaunch_hook = _give_cookie
    app.start()


def _give_cookie(handler: Any, **_: Any) -> None:
    """Give a page the cookie without which it cannot say, when it is left, that its kernel can go."""
    handler.xsrf_token  # noqa: B018 (reading it sets the cookie)


def _follow(parent: int) -> None:
    """End this process, with its kernels, once `parent` is no longer its parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
