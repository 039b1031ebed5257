"""The digests of the package: comments count for files, what the code means counts for code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import reidlab
from reidlab.sweeps.package import package_code, package_files
from reidlab.sweeps.rows import sweeps_root


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a small part of the package, in whose place it stands."""
    top, real = tmp_path / "reidlab", Path(reidlab.__file__).parent
    for name in ("__init__.py", "errors.py", "cli/runs.py", "recipes/demo.yaml"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real / name, top / name)
    (top / "models" / "shipped" / "tiny").mkdir(parents=True)
    (top / "models" / "shipped" / "tiny" / "weights.bin").write_bytes(b"1")
    monkeypatch.setattr(reidlab, "__file__", str(top / "__init__.py"))
    return top


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_comments_and_docstrings_change_files_and_not_the_code(package: Path) -> None:
    files, code = package_files(), package_code()
    append(package / "errors.py", "# a comment\n")
    assert package_files() != files and package_code() == code
    append(package / "errors.py", "\n\nMORE = 1\n")
    assert package_code() != code


@pytest.mark.parametrize("name", ["recipes/demo.yaml", "models/shipped/tiny/weights.bin", "errors.py"])
def test_what_computes_counts(package: Path, name: str) -> None:
    code = package_code()
    append(package / name, "\nx: 1\n")
    assert package_code() != code


def test_a_module_more_or_less_counts_and_the_commands_do_not(package: Path) -> None:
    files, code = package_files(), package_code()
    append(package / "cli" / "runs.py", "\nMORE = 1\n")
    assert (package_files(), package_code()) == (files, code)
    (package / "more.py").write_text("")
    assert package_code() != code


def test_checkpoints_of_jupyterlab_do_not_count(package: Path) -> None:
    files, code = package_files(), package_code()
    for name in (".ipynb_checkpoints/errors-checkpoint.py", "__pycache__/x.py", "recipes/.ipynb_checkpoints/a.yaml"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("half of a li(")
    assert (package_files(), package_code()) == (files, code)


def test_without_a_place_for_the_note_it_is_computed(package: Path) -> None:
    code = package_code()
    note = sweeps_root() / "code.json"
    note.unlink()
    note.mkdir()
    assert package_code() == code


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 1}', '{"files": "x", "code": "y"}'])
def test_a_damaged_or_old_note_is_written_anew(package: Path, content: str) -> None:
    code = package_code()
    note = sweeps_root() / "code.json"
    right = note.read_text()
    note.write_text(content)
    assert package_code() == code and note.read_text() == right
