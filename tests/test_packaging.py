"""The lists of packages agree: pyproject.toml, constraints.txt, environment.yml, what is installed."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge calls a package otherwise
IMPORT_NAMES = {
    "huggingface-hub": "huggingface_hub",
    "beautifulsoup4": "bs4", "faiss-cpu": "faiss", "pillow": "PIL", "pytorch-metric-learning": "pytorch_metric_learning",
    "pyyaml": "yaml", "scikit-learn": "sklearn", "umap-learn": "umap", "jupyter-client": "jupyter_client",
    "mlflow-skinny": "mlflow", "grad-cam": "pytorch_grad_cam", "jupyter-scatter": "jscatter",
}  # fmt: skip
COME_WITH = {
    "cycler": "matplotlib",
    "threadpoolctl": "scikit-learn",
    "traitlets": "ipywidgets",
    "IPython": "ipywidgets",
}  # parts of what is required


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    return [Requirement(text) for text in [*project()["dependencies"], *(t for extra in extras for t in extra)]]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line) for line in lines)
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def conda() -> tuple[dict[str, str], list[str]]:
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert content["name"] == "reidlab" and content["channels"][0] == "conda-forge"
    plain = [item for item in content["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in content["dependencies"] if isinstance(item, dict)]
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", item) for item in plain]
    return {m[1]: m[2] for m in found if m}, pip


def test_constraints_pin_what_is_required_within_its_floors() -> None:
    pinned = pins()
    for requirement in requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} but constraints.txt pins {version}"
    assert "reidlab" not in pinned


def test_conda_has_the_same_packages_and_floors() -> None:
    packages, pip = conda()
    assert pip == ["-e .[dev,tracking,export,fast,explore,docs,cluster]"]
    for text in project()["dependencies"]:
        requirement = Requirement(text)
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        floor = packages.pop(name, None) or packages.pop(name.replace("-", "_"), None)
        assert floor == str(requirement.specifier), f"environment.yml has {name}{floor}, pyproject.toml {requirement}"
    assert set(packages) == {"python", "pip"}
    assert set(packages["python"].split(",")) == set(project()["requires-python"].split(","))


def test_what_is_installed_satisfies_the_requirements() -> None:
    for requirement in requirements():
        version = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but {version} is installed"


def imported() -> set[str]:
    found = set()
    for file in (ROOT / "reidlab").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"reidlab", "__future__"}


def test_imports_and_dependencies_agree() -> None:
    extras = project()["optional-dependencies"]
    optional = [
        *extras["tracking"],
        *extras["export"],
        *extras["fast"],
        *extras["explore"],
    ]  # imported where they are used, with a clear error
    required = {Requirement(text).name for text in [*project()["dependencies"], *optional]}
    names = {IMPORT_NAMES.get(name, name): name for name in required}
    missing = imported() - set(names) - {part for part, whole in COME_WITH.items() if whole in required}
    assert not missing, f"imported but not in pyproject.toml: {sorted(missing)}"


def test_torch_free_modules_stay_so() -> None:
    modules = "params, store, registry, paths, errors, store.provenance, store.sources, cli, cli.doctor, workbook.runner, workbook.report, workbook.clean"
    names = ", ".join(f"reidlab.{name.strip()}" for name in modules.split(","))
    code = f"import sys, {names}; print([m for m in ('torch', 'pandas', 'papermill', 'nbconvert') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_runs_on_python_that_is_not_supported() -> None:
    assert sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))
    assert project()["requires-python"] == ">=3.11,<3.14"


def test_the_makefile_lists_its_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("env", "demo", "test", "lab", "lint", "notebooks-clean", "clean"):
        assert re.search(rf"^{target} {{2,}}\w", done.stdout, flags=re.MULTILINE), target
    assert re.search(r"^\.PHONY: help env demo test", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_lab_passes_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["make", "-n", "-o", ".venv/.made", "lab", "LAB_ARGS=--port=9000"]
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # `make test` runs this: inside another make, make says more
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")
    line = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    assert "--no-browser --port=9000 notebooks" in line and ("--allow-root" in line) == (os.getuid() == 0)
    monkeypatch.delenv("SSH_CONNECTION")
    done = subprocess.run(words[:-1], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--no-browser" not in done.stdout


def test_the_makefile_refuses_another_python(tmp_path: Path) -> None:
    fake = tmp_path / "python3"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    fake.chmod(0o755)
    for name in ("python3.11", "python3.12"):
        (tmp_path / name).symlink_to(fake)
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(["make", "env"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "wants Python 3.11 to 3.13; found: Python 3.9.1" in done.stderr
    assert "PYTHON=/path/to/python" in done.stderr


def test_shell_scripts_parse() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert "set -euo pipefail" in script.read_text() and "make test" in script.read_text()


def test_the_wheel_holds_templates_and_recipes_and_says_that_it_has_types() -> None:
    folders = {p.parent.name for p in (ROOT / "reidlab").rglob("*.j2")}
    assert folders == {"templates"}
    ignored = subprocess.run(
        ["git", "check-ignore", "reidlab/workbook/templates/page.html.j2", "reidlab/py.typed"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (ROOT / "reidlab" / "py.typed").is_file()
    assert ignored.returncode == 1  # hatchling leaves out what git ignores


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "pyproject.toml", "constraints.txt", "environment.yml"])
def test_no_absolute_path_of_a_machine(name: str) -> None:
    assert not re.search(r"(/home/|/Users/|/work/|/root/)\w", (ROOT / name).read_text())
