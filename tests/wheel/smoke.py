"""Install the wheel into an empty environment and use it there, away from the clone: `make test-wheel`.

By default the environment takes the installed dependencies of the one that runs this (a path in a .pth file, so that the
clone, which an editable install names in a .pth file of its own, is not seen); `--dependencies` installs them anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def environment(folder: Path, wheel: Path, dependencies: bool) -> Path:
    """Make an environment with the wheel in it; return its folder of commands."""
    venv.create(folder, with_pip=dependencies, symlinks=True)
    commands = folder / "bin"
    if dependencies:
        constraints = ["--constraint", str(CLONE / "constraints.txt")]
        run(folder, [str(commands / "python"), "-m", "pip", "install", "--quiet", *constraints, str(wheel)])
        return commands
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        str(commands / "python"),
    ]
    run(folder, [*install, str(wheel)])
    return commands


def run(folder: Path, words: list[str], code: int = 0) -> str:
    """Run a command in a folder without any variable of ours; return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("REIDLAB", "PYTHON", "VIRTUAL"))}
    # templates of nbconvert, which are data of the environment that the dependencies are in
    env["JUPYTER_PATH"] = str(Path(sysconfig.get_path("data")) / "share" / "jupyter")
    print(f"$ {' '.join(Path(word).name if word.startswith('/') else word for word in words)}", flush=True)
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"exit code {done.returncode} instead of {code}:\n{done.stdout}")
    return done.stdout


def check(true: object, what: str) -> None:
    """Stop where something is not so."""
    if not true:
        raise SystemExit(f"not so: {what}")
    print(f"  {what}", flush=True)


def use(folder: Path, commands: Path) -> None:
    """Use the installed package as somebody would who has no clone."""
    python, reidlab = str(commands / "python"), str(commands / "reidlab")
    where = Path(run(folder, [python, "-c", "import reidlab; print(reidlab.__file__)"]).strip())
    check(where.is_relative_to(commands.parent), "the package is that of the wheel")
    seen = run(folder, [python, "-c", "import sys; print(*sys.path, sep='\\n')"]).splitlines()
    check(not any(Path(path) in (CLONE, CLONE / "reidlab") for path in seen), "the clone is not on the path")
    check("demo" in {each["name"] for each in json.loads(run(folder, [reidlab, "recipes", "--json"]))}, "recipes")
    load = "from reidlab.models import load_model; print(load_model('small').dim)"
    check(int(run(folder, [python, "-c", load])) > 0, "the shipped model")
    run(folder, [reidlab, "run"], code=2)  # outside of a workbook
    run(folder, [reidlab, "new", "mine"])
    mine = folder / "mine"
    names = {each["name"] for each in json.loads(run(mine, [reidlab, "run", "--json"]))}
    check(names == {path.stem for path in (CLONE / "notebooks").glob("*.ipynb")}, f"{len(names)} notebooks")
    words = [reidlab, "run", "01", "03", "-p", "recipe", "recipes/mine.yaml", "-p", "epochs", "1", "--json"]
    first, second = json.loads(run(mine, words))
    check(first["status"] == second["status"] == "done", "notebooks 01 and 03 run, with the recipe of the workbook")
    check(Path(second["output"]).is_relative_to(mine / "reports"), "results are in the workbook")
    plan = json.loads(run(mine, [reidlab, "sweep", "sweeps/seeds.yaml", "--dry-run", "--json"]))
    check(len(plan["runs"]) == 6, "the sweep has six runs")
    pages = json.loads(run(mine, [reidlab, "report", "--json"]))
    check(pages["pages"] == 2 and Path(pages["index"]).is_file(), "pages are made")
    leaks = [path for path in (mine / "reports").rglob("*.ipynb") if str(CLONE) in path.read_text()]
    check(not leaks, "no executed notebook names the clone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the wheel in it; of several the newest is taken")
    parser.add_argument("--dependencies", action="store_true", help="install them anew (several GB)")
    given = parser.parse_args()
    wheels = sorted(given.folder.glob("reidlab-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise SystemExit(f"no wheel in {given.folder}: make test-wheel builds one")
    with tempfile.TemporaryDirectory(prefix="reidlab-wheel-") as scratch:
        folder = Path(scratch)
        use(folder, environment(folder / "environment", wheels[-1].resolve(), given.dependencies))
    print(f"{wheels[-1].name} works")


if __name__ == "__main__":
    main()
