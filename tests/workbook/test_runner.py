from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from reidlab.errors import UserError
from reidlab.workbook import supervise
from reidlab.workbook.cells import read_notebook
from reidlab.workbook.runner import executed_root, run_notebook

pytestmark = pytest.mark.notebook
Make = Callable[..., Path]
PARAMETERS = "n: int = 2  # how many\nflag: bool = True  # whether\nlr: float = 0.1  # rate\nwho: str = 'x'  # name"


def printed(path: Path) -> str:
    outputs = [o for c in read_notebook(path).cells for o in c.get("outputs", [])]
    return "".join(o.get("text", "") for o in outputs if o.output_type == "stream")


def gone(pid: int, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_parameters_arrive_with_their_types(make_notebook: Make) -> None:
    path = make_notebook("toy", "# Title of *it*", "print(repr((n, flag, lr, who)))", parameters=PARAMETERS)
    outcome = run_notebook(path, {"flag": "false", "lr": "1e-3", "who": "007"}, label="a")
    assert outcome.ok and outcome.status == "done" and outcome.failure is None and outcome.seconds > 0
    assert outcome.output == executed_root() / "toy-a.ipynb"
    assert printed(outcome.output) == "(2, False, 0.001, '007')\n"
    meta = read_notebook(outcome.output).metadata
    assert meta.reidlab.changed == {"flag": False, "lr": 0.001, "who": "007"} and meta.reidlab.parameters["n"] == 2
    assert meta.reidlab.status == "done" and meta.reidlab.title == "Title of it" and meta.reidlab.versions.python
    # no folder of this machine is named
    assert not Path(meta.papermill.input_path).is_absolute() and not Path(meta.papermill.output_path).is_absolute()
    assert str(path.parent) not in outcome.output.read_text()


@pytest.mark.parametrize("params", [{"m": 1}, {"n": 2.5}, {"flag": "maybe", "lr": "fast"}])
def test_unfit_parameters_are_refused_before_a_kernel_starts(make_notebook: Make, params: dict[str, object]) -> None:
    path = make_notebook("toy", "1", parameters=PARAMETERS)
    with pytest.raises(UserError, match="toy"):
        run_notebook(path, params)
    assert not executed_root().exists()


def test_a_failing_cell_is_told_and_the_rest_is_kept(make_notebook: Make) -> None:
    path = make_notebook("bad", "print('before')", "x = 0\n1 / x", "print('after')")
    outcome = run_notebook(path)
    assert not outcome.ok and outcome.status == "failed" and outcome.failure is not None
    assert outcome.failure.error == "ZeroDivisionError" and outcome.failure.message == "division by zero"
    assert outcome.failure.cell == "x = 0\n1 / x" and "1 / x" in outcome.failure.traceback
    assert printed(outcome.output) == "before\n"
    assert read_notebook(outcome.output).metadata.reidlab.failure["error"] == "ZeroDivisionError"


def test_system_exit_zero_stops_in_peace(make_notebook: Make) -> None:
    outcome = run_notebook(make_notebook("stop", "raise SystemExit(0)", "print('after')"))
    assert outcome.ok and outcome.status == "stopped" and "after" not in printed(outcome.output)


def test_a_kernel_that_dies_is_a_failure(make_notebook: Make) -> None:
    outcome = run_notebook(make_notebook("dead", "print('x')", "import os\nos._exit(3)"))
    assert outcome.failure is not None and "memory" in outcome.failure.message and "os._exit" in outcome.failure.cell


def test_the_time_limit_ends_kernel_and_its_children(
    make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"

    def time_is_up_in_the_second_cell(limits: supervise.Limits, *_: object) -> str:
        assert limits.seconds == 8  # on a busy machine the kernel alone may take longer to start
        return "timeout" if pids.exists() and pids.read_text() else ""

    monkeypatch.setattr(supervise, "_reached", time_is_up_in_the_second_cell)
    source = (
        "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(300)"
    )
    outcome = run_notebook(make_notebook("slow", "print('first')", source), timeout=8)
    assert outcome.status == "timeout" and outcome.failure is not None and "8 s" in outcome.failure.message
    assert outcome.failure.cell.startswith("import os, subprocess") and printed(outcome.output) == "first\n"
    for pid in pids.read_text().split():
        assert gone(int(pid)), "a process was left behind"


def test_the_kernel_ends_when_the_caller_is_killed(make_notebook: Make, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    source = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)"
    path = make_notebook("slow", source)
    code = (
        f"from pathlib import Path; from reidlab.workbook.runner import run_notebook; run_notebook(Path({str(path)!r}))"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 600  # of a busy machine
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < end and caller.poll() is None
        time.sleep(0.1)
    caller.kill()
    caller.wait()
    assert gone(int(pid.read_text()))


def test_the_working_directory(make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_notebook("where", "import os\nprint(os.getcwd())")
    monkeypatch.chdir("/")
    assert printed(run_notebook(path).output).strip() == str(path.parent)
    assert printed(run_notebook(path, cwd=tmp_path).output).strip() == str(tmp_path)


def test_a_missing_kernel_has_a_remedy(make_notebook: Make) -> None:
    with pytest.raises(UserError, match=r"'pyton3'\. Did you mean 'python3'\?.*ipykernel install --sys-prefix"):
        run_notebook(make_notebook("toy", "1"), kernel="pyton3")


def test_outputs_that_cannot_be(make_notebook: Make, tmp_path: Path) -> None:
    path = make_notebook("toy", "1")
    with pytest.raises(UserError, match="the notebook itself"):
        run_notebook(path, output=path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run_notebook(path, output=tmp_path / "file" / "x.ipynb")
    with pytest.raises(UserError, match=r"ends in \.ipynb"):
        run_notebook(path, output=tmp_path / "README.md")
    other = make_notebook("precious", "1")
    before = other.read_bytes()
    with pytest.raises(UserError, match=r"precious\.ipynb is not an executed notebook and would be overwritten"):
        run_notebook(path, output=other)
    assert other.read_bytes() == before
    with pytest.raises(UserError, match=r"--label 'lr/0\.1' becomes part of a file name"):
        run_notebook(path, label="lr/0.1")


def test_paths_count_from_where_the_command_was_given(
    make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "crops.csv").touch()
    monkeypatch.chdir(home)
    path = make_notebook("toy", "from reidlab.paths import find\nprint(find('crops.csv'))")
    assert printed(run_notebook(path).output).strip() == str(home / "crops.csv")


def test_widgets_and_bars_do_no_harm(make_notebook: Make) -> None:
    source = "from tqdm.auto import tqdm\nimport ipywidgets\nfor _ in tqdm(range(3)): pass\nipywidgets.IntSlider()"
    outcome = run_notebook(make_notebook("widget", source))
    assert outcome.ok and json.loads(outcome.output.read_text())["metadata"]["reidlab"]["status"] == "done"
    assert os.environ.get("TQDM_DISABLE") is None


def test_state_of_widgets_that_no_output_shows_is_dropped(make_notebook: Make) -> None:
    source = "import ipywidgets as w\nhidden = [w.Text('x' * 9000) for _ in range(5)]\nw.VBox([w.IntSlider(3)])"
    outcome = run_notebook(make_notebook("shown", source))
    (state,) = json.loads(outcome.output.read_text())["metadata"]["widgets"].values()
    names = {each["model_name"] for each in state["state"].values()}
    assert {"VBoxModel", "IntSliderModel", "SliderStyleModel", "LayoutModel"} == names
    bare = run_notebook(make_notebook("hidden", source.rpartition("\n")[0]))
    assert "widgets" not in json.loads(bare.output.read_text())["metadata"]


def test_what_the_kernel_says_of_its_progress_reaches_stderr(
    make_notebook: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    source = (
        "from reidlab.progress import bar, say\nfor _ in bar(range(3), total=3, desc='x', unit='y'): pass\nsay('half')"
    )
    path = make_notebook("told", source)
    outcome = run_notebook(path, progress=True)
    assert capfd.readouterr().err.splitlines()[-1].endswith(" half")
    assert not read_notebook(outcome.output).cells[0].outputs  # no dead bar
    run_notebook(path, progress=True, bar=True)
    err = capfd.readouterr().err
    assert "half" in err and "Executing" in err
    assert run_notebook(path).ok and "half" not in capfd.readouterr().err
