"""What the machine refuses is one line with a remedy, and not a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reidlab import failures, store
from reidlab.cli import doctor, main, notebooks
from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.store import runs

Capture = pytest.CaptureFixture[str]


class Sockets(Exception):
    """As ZeroMQ's errors are: no OSError, but with a number."""

    errno = errno.EMFILE


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/r/runs"), "/r/runs: Read-only file system. Make it writable"),
        (PermissionError(errno.EACCES, "Permission denied", "/r"), "/r: Permission denied. Make it writable"),
        (OSError(errno.ENOSPC, "No space left on device", "/r"), "Free space with `reidlab runs gc`"),
        (OSError(errno.EMFILE, "Too many open files", "/r"), "/r: Too many open files. Allow more"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "Give a shorter name"),
        (OSError(errno.EXDEV, "Cross-device link", "/a", None, "/b"), "/a and /b: Cross-device link. REIDLAB_TRACEBACK=1"),
        (OSError("odd"), "odd. REIDLAB_TRACEBACK=1 shows"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "There is not enough memory. Close"),
        (Sockets("Too many open files"), "Too many open files. Allow more open files"),
        (MemoryError(), "There is not enough memory. Close"),
        (MemoryError("Unable to allocate 3 TiB"), "not enough memory (Unable to allocate 3 TiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "There is not enough memory"),
        (RuntimeError("can't start new thread"), "There is not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "There is not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (UnicodeEncodeError("ascii", "né", 1, 2, "ordinal"), "'é' cannot be written as ascii. Set PYTHONUTF8=1"),
        (UnicodeDecodeError("utf-8", b"n\xe9", 1, 2, "x"), "The byte 0xe9 at position 1 is not utf-8"),
        (UnicodeError("odd"), "cannot be read or written (odd)"),
    ],
    ids=str,
)  # fmt: skip
def test_the_command_line_says_it_in_a_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(store, "list_runs", refuse)
    assert main(["runs"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("reidlab: ") and words in err and err.count("\n") == 1
    monkeypatch.setenv("REIDLAB_TRACEBACK", "1")
    with pytest.raises(type(error)):
        main(["runs"])


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), KeyError("x"), ImportError("no module named x")])
def test_what_is_a_fault_of_reidlab_keeps_its_traceback(error: Exception) -> None:
    assert explained(error) is None


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for value in ("", "0"):
        monkeypatch.setenv("REIDLAB_TRACEBACK", value)
        assert main(["runs", "rm", "abcd"]) == 2
    monkeypatch.setenv("REIDLAB_TRACEBACK", "1")
    with pytest.raises(UserError, match="There is no run 'abcd'"):
        main(["runs", "rm", "abcd"])


def test_runs_on_a_disk_that_became_read_only(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    run = store.stage("toy", "one", params={"n": 1}, make=lambda folder: {})

    def rename(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "rename", rename)
    assert main(["runs", "rm", run.path.name]) == 1
    err = capsys.readouterr().err
    assert str(run.path) in err and os.strerror(errno.EROFS) in err and "REIDLAB_REPORTS" in err
    assert run.path.is_dir() and main(["runs"]) == 0


@pytest.mark.parametrize("stage", ["../..", "/", "..", "*/*", "", "x" * 300])
def test_stages_are_not_patterns_of_paths(stage: str, capsys: Capture) -> None:
    store.stage("toy", "one", params={"n": 1}, make=lambda folder: {})
    assert runs.list_runs(stage) == [] and main(["runs", "list", stage]) == 0
    assert [run.stage for run in runs.list_runs("to*")] == ["toy"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict", "utf-8:strict"])
def test_any_encoding_of_the_output(encoding: str) -> None:
    code = "from reidlab.cli import app, main\n"
    code += "app.command('say')(lambda: print('né → 💥 \\udcff'))\nmain(['say'])\nmain(['run', chr(233)])"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert rb"\udcff" in done.stdout and b"There is no notebook" in done.stderr
    assert (rb"n\xe9 \u2192" in done.stdout) == (encoding == "ascii")


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    with pytest.raises(UserError, match=r"Only 32 files may be open at once .*`ulimit -n 1024`"):
        failures.check_open_files()
    assert main(["run", "12"]) == 2 and "Only 32 files" in capsys.readouterr().err
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 4096))
    failures.check_open_files()
    assert raised == [(128, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert failures.open_files() is None


def test_a_notebook_without_memory_is_told_the_remedy(capsys: Capture) -> None:
    from reidlab.workbook import runner

    failure = runner.Failure("MemoryError", "", "x = 1")
    notebooks._tell(runner.Outcome(Path("a.ipynb"), Path("a.ipynb"), "failed", 1.0, failure))
    assert "MemoryError: \nClose other programs, raise the limit" in capsys.readouterr().err
    assert failures.remedy_in("ValueError: memory is a word") == ""


def test_usage_errors_keep_their_code(capsys: Capture) -> None:
    assert main(["runs", "gc", "--older-than", "soon"]) == 2
    assert "--older-than" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["data", "list"], ["runs"]])
def test_a_data_folder_that_is_a_file(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "file").touch()
    for variable in ("REIDLAB_DATA", "REIDLAB_REPORTS"):
        monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert main(words) == 2
    assert "file' is a file, but must be a folder" in capsys.readouterr().err
    checks = {check.what: check for check in doctor.examine()}
    assert checks["folders"].state == "fail" and "is a file, but must be a folder" in checks["folders"].found
    assert checks["open files"].found


def test_manifests_are_read_as_utf8_whatever_the_locale() -> None:
    code = "from reidlab import store\nrun = store.stage('toy', 'a', params={'who': chr(233)}, make=lambda f: {'x': chr(233)})\n"
    code += "assert run.result == store.load_run(run.path).result == {'x': chr(233)}, run.result"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
