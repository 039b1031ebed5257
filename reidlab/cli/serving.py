"""Pages that a command serves on this machine, a process on a port each; all stop when one ends or this one has to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

import psutil

from reidlab.errors import UserError

__all__ = ["HOST", "Dashboard", "serve"]

HOST = "127.0.0.1"
_GRACE = 5.0  # seconds between asking a process to end and ending it
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(frozen=True)
class Dashboard:
    """A page that a command serves.

    Attributes:
        title: what it is called.
        command: of (host, port).
        port: 0 for a free one.
        path: behind host and port in the address that is said.
        env: variables that its process has besides this one's.
    """

    title: str
    command: Callable[[str, int], list[str]]
    port: int = 0
    path: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


class _Served:
    """A running dashboard with all that it starts: a process group of its own."""

    def __init__(self, dashboard: Dashboard, port: int) -> None:
        self.title, self.port = dashboard.title, port
        self.address = f"http://{HOST}:{port}{dashboard.path}"
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed when all have ended)
        command = dashboard.command(HOST, port)
        env = {**os.environ, **dashboard.env}
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env, start_new_session=True
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

    def family(self) -> list[psutil.Process]:
        """Return all that it has started and that runs still; kernels of Jupyter are in groups of their own."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

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


def serve(
    dashboards: Sequence[Dashboard],
    *,
    say: Callable[[str], None] = print,
    ready: Callable[[list[str]], None] = lambda addresses: None,
) -> int:
    """Start all dashboards, say their addresses and wait; stop all on Ctrl-C, SIGTERM, SIGHUP, and when one ends.

    Only for the main thread. Gives 0 after a signal, 1 when a dashboard ended by itself.

    Args:
        dashboards: what is served.
        say: shows a line.
        ready: is called with the addresses once all answer.

    Raises:
        UserError: a command that cannot be started; those before it are stopped.
    """
    told: list[int] = []  # a handler may only set a flag: whatever it interrupts goes on
    served: list[_Served] = []
    with _handled(told):
        try:
            for dashboard, port in zip(dashboards, _free_ports(len(dashboards))):
                served.append(_Served(dashboard, dashboard.port or port))
            return _watch(served, told, say, ready)
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


def _watch(
    served: Sequence[_Served],
    told: Sequence[int],
    say: Callable[[str], None],
    ready: Callable[[list[str]], None],
) -> int:
    waiting = list(served)
    say("Starting " + " and ".join(item.title for item in served) + " ...")
    while not told:
        for item in served:
            if item.process.poll() is not None:
                say(f"{item.title} ended by itself (exit code {item.process.returncode}):\n{item.tail()}")
                return 1
        for item in [item for item in waiting if item.answers()]:
            say(f"{item.title}: {item.address}")
            waiting.remove(item)
            if not waiting:
                say("Ctrl-C stops " + ("both." if len(served) == 2 else "it."))
                ready([item.address for item in served])
        time.sleep(0.1)
    return 0


def _stop(served: Sequence[_Served]) -> None:
    """End every group: ask, wait a little, then insist."""
    families = [member for item in served for member in item.family()]
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
    for member in psutil.wait_procs(families, timeout=0)[1]:  # what has left its group
        with suppress(psutil.NoSuchProcess):
            member.kill()
