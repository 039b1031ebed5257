from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidlab import params, store
from reidlab.cli import doctor, main, running
from reidlab.cli.console import join_pairs
from reidlab.errors import UserError
from reidlab.workbook import runner

Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def workbook(make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workbook with a notebook of ours (01) and one of the user's own (90)."""
    cells = (
        "# Data *preparation*",
        "from reidlab import params\np = params.DataPrep.from_notebook(globals())\nprint(p.seed)",
    )
    make_notebook("01_data_prep", *cells, parameters="seed: int = 0  # seed\nheight: int = 128  # pixels")
    make_notebook(
        "90_own", "# Own", "print(repr((n, flag)))", parameters="n: int = 1  # how many\nflag: bool = True  # if"
    )
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record what would be run instead of running it."""
    ran: list[Path] = []

    def pretend(notebook: Path, params: object = None, **more: object) -> runner.Outcome:
        ran.append(notebook)
        status = "failed" if notebook.stem.startswith("01") else "done"
        failure = runner.Failure("E", "broken", "x = 1\ny") if status == "failed" else None
        return runner.Outcome(notebook, notebook, status, 1.0, failure)

    monkeypatch.setattr(runner, "run_notebook", pretend)
    return ran


def test_pairs_of_papermill_are_joined() -> None:
    assert join_pairs(["run", "3", "-p", "a", "-1", "-p", "b=2", "--param", "c", "x=y"]) == [
        "run", "3", "-p", "a=-1", "-p", "b=2", "--param", "c=x=y",
    ]  # fmt: skip
    assert join_pairs(["-p"]) == ["-p"] and join_pairs(["-p", "a"]) == ["-p", "a"]
    assert join_pairs(["--", "-p", "a", "b"]) == ["--", "-p", "a", "b"]


@pytest.mark.notebook
def test_run_and_report(workbook: Path, capsys: Capture) -> None:
    assert main(["run", "90", "-p", "n", "5", "-p", "flag", "false", "--label", "x"]) == 0
    assert "90_own: done in" in capsys.readouterr().out
    executed = workbook / "reports" / "executed" / "90_own-x.ipynb"
    assert "(5, False)" in executed.read_text()
    assert main(["report", "90"]) == 0
    assert "1 page and the index" in capsys.readouterr().out
    index = (workbook / "reports" / "html" / "index.html").read_text()
    assert "n=5" in index and "90_own-x.html" in index


@pytest.mark.notebook
def test_a_failing_notebook(make_notebook: Make, capsys: Capture) -> None:
    path = make_notebook("bad", "from reidlab.errors import UserError\nraise UserError('wrong thing')")
    assert main(["run", str(path)]) == 1
    err = capsys.readouterr().err
    assert "    raise UserError('wrong thing')" in err and "UserError: wrong thing" in err and "bad.ipynb" in err


def test_unfit_parameters_are_refused_before_any_notebook_runs(
    workbook: Path, no_kernel: list[Path], capsys: Capture
) -> None:
    assert main(["run", "1", "-p", "sede", "3", "-p", "height", "tall"]) == 2
    err = capsys.readouterr().err
    assert "sede='3': no such parameter. Did you mean 'seed'?" in err and "height='tall'" in err
    assert "Traceback" not in err
    assert main(["run", "90", "1", "-p", "n", "three"]) == 2 and "n='three'" in capsys.readouterr().err
    assert main(["run", "90", "1", "-p", "seeds", "3"]) == 2
    assert (
        "None of 90_own, 01_data_prep knows:\n  seeds='3': no such parameter. Did you mean 'seed'?"
        in capsys.readouterr().err
    )
    assert no_kernel == []


def test_several_notebooks_take_the_parameters_that_they_know(workbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    done = runner.Outcome(Path("x"), Path("x"), "done", 1.0)
    monkeypatch.setattr(runner, "run_notebook", lambda notebook, params, **more: seen.append(params) or done)
    assert main(["run", "90", "1", "-p", "n", "3", "-p", "seed", "4"]) == 0
    assert seen == [{"n": "3"}, {"seed": "4"}]


def test_ctrl_c_says_what_is_kept(workbook: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(notebook: Path, params: object, **more: object) -> runner.Outcome:
        for epoch in (2, 3):
            (store.runs_root() / "training" / ".work-1" / "checkpoints" / f"epoch-{epoch:05}").mkdir(
                parents=True, exist_ok=True
            )
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_notebook", interrupted)
    assert main(["run", "1"]) == 130
    kept = "Kept: every stage that was finished and the training's 3 finished epochs. The same command continues from there."
    assert f"01_data_prep: stopped. {kept}" in capsys.readouterr().err
    assert "epoch" not in running.stopped("01_data_prep", time.time() + 60)  # of an earlier training


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "5"], "There are: 01_data_prep, 90_own"),
        (["run", "1", "-p", "seed"], "-p 'seed': give a name and a value"),
        (["run", "1", "-p", "seed", "1", "-p", "seed", "2"], "given twice"),
        (["run", "1", "-f", "nothing.yaml"], "cannot be read"),
        (["run", "1", "90", "-o", "x.ipynb"], "--output is for one notebook"),
        (["run", "1", "-k", "julia"], "There is no Jupyter kernel 'julia'"),
        (["run", "-p", "seed", "1"], "Which notebook?"),
        (["run", "1", "-p", "learning-rate", "1"], "learning-rate='1': no such parameter"),
        (
            ["run", "1", "-p", "dataset", "markte1501"],
            "dataset: data set 'markte1501' is unknown; choose from pedestrians, market1501",
        ),
        (["run", "1", "-p", "root", "nowhere"], "root='nowhere': there is no such folder"),
        (["run", "1", "-p", "options", "x"], "allowed is a mapping such as {'name': 'value'}"),
        (["report"], "No notebook was run yet"),
        (["report", "3"], "No executed notebook '3'"),
        (["runs", "rm", "abcdef"], "There is no run 'abcdef'"),
        (["data", "describe", "markte1501"], "Did you mean 'market1501'"),
        (["losses", "tripelt"], "Did you mean 'triplet'"),
    ],
)
def test_mistakes_are_one_message_and_exit_2(workbook: Path, capsys: Capture, words: list[str], said: str) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("reidlab: ") and said in err and "Traceback" not in err


def test_parameter_files(workbook: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    seen: list[object] = []
    done = runner.Outcome(Path("x"), Path("x"), "done", 1.0)
    monkeypatch.setattr(runner, "run_notebook", lambda notebook, params, **more: seen.append(params) or done)
    file = tmp_path / "p.yaml"
    file.write_text("val_share: 1e-1\nseed: 4\n")  # YAML 1.1 reads 1e-1 as text
    assert main(["run", "1", "-f", str(file), "-p", "seed", "5"]) == 0
    assert seen == [{"val_share": "1e-1", "seed": "5"}]
    for text, said in (("- 1", "holds a list"), ("a: [", "is not YAML")):
        file.write_text(text)
        assert main(["run", "1", "-f", str(file)]) == 2
        assert said in capsys.readouterr().err


def test_names_are_looked_up_before_a_kernel_starts(
    make_notebook: Make, no_kernel: list[Path], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_notebook(
        "03_training",
        "from reidlab import params",
        parameters="recipe: str = 'demo'  # recipe\ntracking: list = []  # by\ndevice: str = 'auto'  # where",
    )
    path = make_notebook("04_retrieval_analysis", "1", parameters="model: str = ''  # model")
    for notebook, words, said in [
        (path, ["-p", "model", "osnet_x0_25:nope.pth"], "model: there is no file of weights nope.pth"),
        (path, ["-p", "model", "some-run"], "model: There is no run 'some-run'"),
        (path.with_name("03_training.ipynb"), ["-p", "recipe", "dmo"], "recipe 'dmo' does not exist"),
        (
            path.with_name("03_training.ipynb"),
            ["-p", "recipe", "mine.yaml"],
            "recipe 'mine.yaml': there is no such file",
        ),
        (path.with_name("03_training.ipynb"), ["-p", "device", "cuda"], "device='cuda' is not available"),
        (path.with_name("03_training.ipynb"), ["-p", "tracking", "tensorbord"], "Did you mean 'tensorboard'"),
    ]:
        assert main(["run", str(notebook), *words]) == 2
        assert said in capsys.readouterr().err
    assert no_kernel == []


def test_mappings_as_python_or_json_write_them(
    workbook: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for text in ("{'partial': True}", '{"partial": true}'):
        assert params.coerce(params.DataPrep, {"options": text}) == {"options": {"partial": True}}


def test_several_notebooks_stop_at_the_first_failure(workbook: Path, no_kernel: list[Path], capsys: Capture) -> None:
    assert main(["run", "1", "90"]) == 1 and [p.stem for p in no_kernel] == ["01_data_prep"]
    assert "    x = 1\n    y" in capsys.readouterr().err
    no_kernel.clear()
    assert main(["run", "1", "90", "--keep-going"]) == 1 and len(no_kernel) == 2


def test_lists(workbook: Path, no_kernel: list[Path], capsys: Capture) -> None:
    assert main(["run"]) == 0
    assert "Data preparation" in capsys.readouterr().out
    assert main(["run", "1", "--params"]) == 0 and no_kernel == []
    out = capsys.readouterr().out
    assert "at least 16" in out and "test_to_val" in out
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "market1501" in out and "built in" in out


def test_lists_of_what_is_registered(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["poolings", "gem*", "AVG"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in found] == ["gem", "gem_learnable", "avg"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    assert main(["poolings", "max"]) == 0
    assert all(len(line) <= 30 for line in capsys.readouterr().out.split("In a recipe:")[0].splitlines())


def test_runs(capsys: Capture) -> None:
    assert main(["runs"]) == 0 and capsys.readouterr().out == "Runs: none\n"
    run = store.stage("toy", "one", params={"n": 1}, make=lambda folder: {"mAP": 0.51239})
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert f"toy/{run.path.name}" in out and "mAP=0.5124" in out
    assert main(["runs", "list", "other"]) == 0 and "none" in capsys.readouterr().out
    assert main(["runs", "rm", run.digest[:8], "abcdef"]) == 2 and run.path.exists()  # all or nothing
    assert main(["runs", "rm", run.digest[:8]]) == 0 and not run.path.exists()
    (store.runs_root() / "toy" / ".work-0123456789ab").mkdir()
    capsys.readouterr()
    assert main(["runs", "gc", "--dry-run"]) == 0 and "would remove toy/.work-0123456789ab" in capsys.readouterr().out
    assert main(["runs", "gc"]) == 0 and "0 MB in 1 folders" in capsys.readouterr().out
    assert not list((store.runs_root() / "toy").iterdir())


def test_the_scores_of_an_evaluation_are_listed(capsys: Capture) -> None:
    result = {"scores": {"rank1": 0.5, "mAP": 0.25}, "flip": False}
    store.stage("evaluation", "one", params={"n": 1}, make=lambda folder: result)
    assert main(["runs", "list", "evaluation"]) == 0
    assert "mAP=0.25, rank1=0.5" in capsys.readouterr().out


def test_damaged_runs_are_listed_with_their_problem(capsys: Capture) -> None:
    run = store.stage("toy", "one", params={"n": 1}, make=lambda folder: {})
    (run.path / "manifest.json").write_text("{")
    assert main(["runs"]) == 0 and "is damaged" in capsys.readouterr().out
    assert main(["runs", "rm", run.path.name]) == 0


def test_describe_reads_a_users_folder(tmp_path: Path, capsys: Capture) -> None:
    from PIL import Image

    for pid in ("anna", "ben"):
        (tmp_path / "mine" / pid).mkdir(parents=True)
        Image.new("RGB", (8, 16)).save(tmp_path / "mine" / pid / "1.jpg")
    assert main(["data", "describe", "folder_per_identity", "--root", str(tmp_path / "mine")]) == 0
    out = capsys.readouterr().out
    assert "identities" in out and "all" in out and "Note: No camera is known" in out


def test_doctor_says_what_it_finds(capsys: Capture) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    assert code == (1 if "\nfail" in f"\n{out}" else 0)
    for what in ("python", "packages", "torch", "device", "kernel", "workbook", "reports folder", "disk", "data sets"):
        assert f" {what}: " in out
    assert all(line.startswith(("ok ", "warn ", "fail ", "      -> ")) for line in out.splitlines())


def test_doctor_survives_broken_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    def _kernel() -> None:
        raise UserError("the workbook is gone")

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "file" / "reports"))
    monkeypatch.setattr(doctor, "_kernel", _kernel)
    checks = list(doctor.examine())
    kernel = next(c for c in checks if c.what == "kernel")
    assert (kernel.state, kernel.found) == ("fail", "UserError: the workbook is gone")
    assert next(c for c in checks if c.what == "reports folder").state == "fail"
    assert main(["doctor"]) == 1


def test_help_is_light() -> None:
    code = "import sys; from reidlab.cli import main; main(['--help']); print([m for m in ('torch','numpy','pandas','nbformat','pydantic','rich.table') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "doctor" in done.stdout


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "reidlab", "run", "zzz"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("reidlab: There is no notebook 'zzz'")
    done = subprocess.run([sys.executable, "-m", "reidlab", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_results_of_a_run_survive_as_json() -> None:
    run = store.stage("toy", "one", params={"n": 1}, make=lambda folder: {"mAP": 0.5})
    assert json.loads((run.path / "manifest.json").read_text())["result"] == {"mAP": 0.5}


def test_version_and_short_help(capsys: Capture) -> None:
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"reidlab {version('reidlab')}\n"
    for words in ([], ["run"], ["runs", "list"], ["data"]):
        assert main([*words, "-h"]) == 0 and "Usage: reidlab" in capsys.readouterr().out


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        **os.environ,
        "_REIDLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "reidlab runs s",
        "COMP_CWORD": "2",
    }
    words = [sys.executable, "-m", "reidlab"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["show"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["run"], {"name": "01_data_prep", "title": "Data preparation"}),
        (["data", "list"], {"name": "pedestrians", "state": "built in"}),
        (["losses"], {"name": "cross_entropy"}),
        (["runs"], {"stage": "evaluation", "problem": ""}),
        (["runs", "list", "evaluation"], {"params": {"dataset": "toy"}, "result": {"mAP": 0.5, "cut": None}}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_lists_as_json(workbook: Path, capsys: Capture, words: list[str], first: dict[str, object]) -> None:
    make = {"mAP": 0.5, "cut": float("nan")}
    store.stage("evaluation", "one", params={"dataset": "toy"}, make=lambda folder: make)
    assert main([*words, "--json"]) == 0
    assert first.items() <= json.loads(capsys.readouterr().out)[0].items()


def test_parameters_and_results_as_json(workbook: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["run", "90", "--params", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["90_own"][0]["name"] == "n"
    frame = pd.DataFrame([{"model": "m", "mAP": np.float64(12.5), "minutes": np.nan}])
    monkeypatch.setattr("reidlab.workbook.scoreboard.results_table", lambda dataset, selectors: frame)
    assert main(["results", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"model": "m", "mAP": 12.5, "minutes": None}]
    assert main(["results", "toy", "--json", "--force"]) == 2 and "writes no file" in capsys.readouterr().err


def test_one_run(capsys: Capture) -> None:
    run = store.stage("toy", "one", params={"n": 1}, make=lambda folder: {"mAP": 0.5, "note": "fine"})
    assert main(["runs", "show", run.digest[:8]]) == 0
    out = capsys.readouterr().out
    assert f"toy/{run.path.name}" in out and "params n" in out and "result mAP" in out and run.digest in out
    assert main(["runs", "show", run.path.name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["result"] == {"mAP": 0.5, "note": "fine"} and told["files"] == ["manifest.json"]
    (run.path / "manifest.json").write_text("{")
    assert main(["runs", "show", run.path.name]) == 0 and "is damaged" in capsys.readouterr().out
    assert main(["runs", "show", "abcdef"]) == 2


def test_describe_takes_options(monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    def read(name: str, root: Path | None, **options: object) -> pd.DataFrame:
        seen.update(options)
        return pd.DataFrame({"n": [1]})

    monkeypatch.setattr("reidlab.data.read", read)
    monkeypatch.setattr("reidlab.data.summarise", lambda frame: frame)
    assert main(["data", "describe", "cuhk03", "-p", "boxes", "detected", "-p", "partial=true", "--json"]) == 0
    assert seen == {"boxes": "detected", "partial": True}
    assert json.loads(capsys.readouterr().out)["counts"] == [{"index": 0, "n": 1}]


def test_doctor_looks_at_torchvision_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from reidlab.cli import main; main(['doctor']); print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False" and "ok    torch: " in done.stdout

    def refused(path: str) -> None:
        raise OSError(f"{Path(path).name}: undefined symbol")

    import torch

    monkeypatch.setattr(torch.ops, "load_library", refused)
    check = next(check for check in doctor.examine() if check.what == "torch")
    assert check.state == "fail" and "undefined symbol" in check.found and "from one index" in check.remedy
