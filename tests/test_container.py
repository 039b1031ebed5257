"""The Dockerfile: no container runtime is here to build it, so what it names is checked against the clone."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# instructions with their arguments, continued lines joined
LINES = [
    (line.split()[0], line.partition(" ")[2])
    for line in re.sub(r"\\\n\s*", " ", TEXT).splitlines()
    if line.strip() and not line.startswith("#")
]


def of(instruction: str) -> list[str]:
    return [arguments for name, arguments in LINES if name == instruction]


def test_the_base_is_pinned_to_a_python_that_is_tested() -> None:
    (base,) = of("FROM")
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm", base)
    assert found, "an image of an exact version"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {found[1]}" in project["classifiers"]


def test_nothing_runs_as_root_but_making_the_user() -> None:
    names = [name for name, _ in LINES]
    before = names[: names.index("USER")]
    assert before == ["FROM", "RUN"] and "useradd" in LINES[1][1]
    assert of("USER") == ["reid"] and names.index("USER") < names.index("CMD")


def test_what_is_copied_and_installed_exists() -> None:
    for arguments in of("COPY"):
        owner, *sources, _ = arguments.split()
        assert owner == "--chown=reid:reid"
        assert all((ROOT / source).exists() for source in sources), sources
    (install,) = [text for text in of("RUN") if "uv pip install" in text]
    extras = re.search(r"--editable \"\.\[([a-z,]+)\]\"", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras and set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert install.count("--constraint constraints.txt") == 2  # uv itself and the packages


def test_the_data_sets_of_others_stay_out() -> None:
    """They may not be redistributed, in an image either."""
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert {"data/raw", ".git", ".venv"} <= set(left_out)


def test_it_serves_lab_on_the_port_that_it_exposes() -> None:
    (command,), (port,) = of("CMD"), of("EXPOSE")
    words = [word.strip(",") for word in shlex.split(command.strip("[]"))]
    assert words[:2] == ["jupyter", "lab"] and f"--port={port}" in words
    assert f":{port}/api" in of("HEALTHCHECK")[0] and f"127.0.0.1:{port}:{port}" in TEXT
    assert "token" not in " ".join(words) and "allow-root" not in command  # JupyterLab makes a token of its own
