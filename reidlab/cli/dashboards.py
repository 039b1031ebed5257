"""TensorBoard and MLflow side by side, each on a free port; both end when one does, or when this process is told to.

MLflow's pages need the whole package mlflow, which needs older versions of packages that reidlab pins. Where it is not
in this environment, uv keeps it in one of its own (`uv tool run`, fetched once).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from reidlab.errors import UserError, nearest
from reidlab.paths import mlflow_uri, reports_root, tensorboard_root

__all__ = ["DASHBOARDS", "Dashboard", "find_dashboards", "serve"]

HOST = "127.0.0.1"
_GRACE = 5.0  # seconds between asking a process to end and ending it
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(frozen=True)
class Dashboard:
    """A page that a command serves: its title and command(host, port)."""

    title: str
    command: Callable[[str, int], list[str]]


def _tensorboard() -> Dashboard:
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "TensorBoard is not installed: pip install tensorboard (or name only: reidlab dashboards mlflow)."
        )
    folder = tensorboard_root()
    folder.mkdir(parents=True, exist_ok=True)
    start = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    return Dashboard("TensorBoard", lambda host, port: [*start, "--host", host, "--port", str(port)])


def _mlflow() -> Dashboard:
    reports_root().mkdir(parents=True, exist_ok=True)
    start = [*_mlflow_program(), "server", "--backend-store-uri", mlflow_uri(), "--workers", "1"]
    place = (reports_root() / "mlflow-artifacts").as_uri()
    return Dashboard(
        "MLflow", lambda host, port: [*start, "--default-artifact-root", place, "--host", host, "--port", str(port)]
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _mlflow_program() -> list[str]:
    """Return the command of a whole mlflow: this environment's, else uv's own, of the version that logs here."""
    if _version("mlflow"):
        return [sys.executable, "-m", "mlflow"]
    beside = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if beside is None:
        raise UserError(
            "MLflow's pages need the package mlflow: pip install uv, which keeps it in an environment of its own "
            "(or name only: reidlab dashboards tensorboard)."
        )
    logs = _version("mlflow-skinny")
    wanted = f"mlflow=={logs}" if logs else "mlflow"
    return [beside, "tool", "run", "--quiet", "--python", sys.executable, "--from", wanted, "mlflow"]


DASHBOARDS: dict[str, Callable[[], Dashboard]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def find_dashboards(names: Sequence[str] = ()) -> list[Dashboard]:
    """Find the commands of the named dashboards, or of all.

    Raises:
        UserError: an unknown name, or a package that is missing, with the command that installs it.
    """
    for name in names:
        if name not in DASHBOARDS:
            raise UserError(
                f"dashboard {name!r} is unknown; choose from {', '.join(DASHBOARDS)}.{nearest(name, DASHBOARDS)}"
            )
    return [DASHBOARDS[name]() for name in dict.fromkeys(names or DASHBOARDS)]


class _Served:
    """A running dashboard with all that it starts: a process group of its own."""

    def __init__(self, dashboard: Dashboard, port: int) -> None:
        self.title, self.port = dashboard.title, port
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed when all have ended)
        command = dashboard.command(HOST, port)
        quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}  # it would report its use over the network
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=quiet, start_new_session=True
            )
        except OSError as error:
            self.log.close()
            raise UserError(f"{self.title} could not be started ({error}): {' '.join(command)}") from error

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((HOST, self.port)) == 0

    def tail(self) -> str:
        """Return the last lines that it printed."""
        self.log.seek(0)
        return "\n".join(f"    {line}" for line in self.log.read().decode(errors="replace").splitlines()[-8:])

    def signal(self, number: int) -> bool:
        """Send a signal to the whole group; say whether there was one. Its leader may be gone, its workers not."""
        self.process.poll()  # reap it, so that an empty group is seen as empty
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            return False
        return True


def _free_ports(n: int) -> list[int]:
    """Find ports that nobody listens on, all at once so that they differ."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def serve(dashboards: Sequence[Dashboard], *, say: Callable[[str], None] = print) -> int:
    """Start all dashboards, say their addresses and wait; stop all on Ctrl-C, SIGTERM, SIGHUP, and when one ends.

    Only for the main thread. Gives 0 after a signal, 1 when a dashboard ended by itself.

    Raises:
        UserError: a command that cannot be started; those before it are stopped.
    """
    told: list[int] = []  # a handler may only set a flag: whatever it interrupts goes on
    served: list[_Served] = []
    with _handled(told):
        try:
            for dashboard, port in zip(dashboards, _free_ports(len(dashboards))):
                served.append(_Served(dashboard, port))
            return _watch(served, told, say)
        finally:
            _stop(served)


@contextmanager
def _handled(told: list[int]) -> Iterator[None]:
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            signal.signal(number, lambda given, _frame: told.append(given))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(served: Sequence[_Served], told: Sequence[int], say: Callable[[str], None]) -> int:
    waiting = list(served)
    say("Starting " + " and ".join(item.title for item in served) + " ...")
    while not told:
        for item in served:
            if item.process.poll() is not None:
                say(f"{item.title} ended by itself (exit code {item.process.returncode}):\n{item.tail()}")
                return 1
        for item in [item for item in waiting if item.answers()]:
            say(f"{item.title}: http://{HOST}:{item.port}")
            waiting.remove(item)
            if not waiting:
                say("Ctrl-C stops " + ("both." if len(served) == 2 else "it."))
        time.sleep(0.1)
    return 0


def _stop(served: Sequence[_Served]) -> None:
    """End every group: ask, wait a little, then insist."""
    left = [item for item in served if item.signal(signal.SIGTERM)]
    end = time.monotonic() + _GRACE
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = [item for item in left if item.signal(0)]
    for item in left:
        item.signal(signal.SIGKILL)
    for item in served:
        with suppress(subprocess.TimeoutExpired):
            item.process.wait(timeout=_GRACE)
        item.log.close()
