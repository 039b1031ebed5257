"""Sweep files: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reidlab.errors import UserError
from reidlab.sweeps.files import load_sweep, size_of


def written(folder: Path, **content: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_defaults(tmp_path: Path) -> None:
    sweep = load_sweep(written(tmp_path, notebooks=3))
    assert sweep.name == "mine" and sweep.notebooks == ("3",) and sweep.seeds == () and sweep.kernel == "python3"
    assert sweep.limits.seconds is None and sweep.limits.memory_bytes is None and sweep.workers is None


def test_a_number_of_seeds_counts_from_zero(tmp_path: Path) -> None:
    assert load_sweep(written(tmp_path, notebooks=["03"], seeds=3)).seeds == (0, 1, 2)
    assert load_sweep(written(tmp_path, notebooks=["03"], seeds=[7, 3])).seeds == (7, 3)


@pytest.mark.parametrize(
    ("text", "size"), [("4 GB", 4 * 10**9), ("512MiB", 512 * 2**20), ("1.5g", 1_500_000_000), ("2 TiB", 2 * 2**40)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["4", "4 XB", "-1 GB", "", "GB", "900 kB", "1e3 GB", "9" * 400 + " GB", "2000 TB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="500 MB or 4 GB"):
        size_of(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "is empty"),
        ({"grid": {"a": [1]}}, "notebooks: Field required"),
        ({"notebooks": []}, "notebooks: Tuple should have at least 1 item"),
        ({"notebooks": "03", "sedes": 3}, r"sedes: .*Did you mean 'seeds'\?"),
        ({"notebooks": "03", "limits": {"second": 3}}, r"limits\.second: .*Did you mean 'seconds'\?"),
        ({"notebooks": "03", "list": [{"parms": {}}]}, r"list\.0\.parms: .*Did you mean 'params'\?"),
        ({"notebooks": "03", "limits": {"memory": "4"}}, r"limits\.memory: must be a size .* given '4'"),
        ({"notebooks": "03", "limits": {"seconds": 0}}, r"limits\.seconds: .*greater than 0"),
        ({"notebooks": "03", "grid": {"a": []}}, "grid: a has no values"),
        ({"notebooks": "03", "grid": {"a": 1}}, r"grid\.a: Input should be a valid list, given 1"),
        ({"notebooks": "03", "seeds": 0}, r"must be from 1 to 10,000; write \[0\] for that seed"),
        ({"notebooks": "03", "seeds": [1, 1]}, "seeds: must be different whole numbers"),
        ({"notebooks": "03", "seeds": [-1]}, "seeds: must be different whole numbers"),
        ({"notebooks": "03", "name": "a/b"}, "name: becomes part of a folder's name"),
        ({"notebooks": "03", "seeds": 2, "grid": {"seed": [1]}}, "parameter seed is set by both grid and seeds"),
        (
            {"notebooks": "03", "list": [{"params": {"a": 1}}], "grid": {"a": [1]}},
            "parameter a is set by both grid and list",
        ),
        ({"notebooks": "03", "random": {"draws": 2, "params": {}}}, r"random\.params: "),
        ({"notebooks": "03", "random": {"draws": 0, "params": {"a": {"choice": [1]}}}}, r"random\.draws: .*, given 0"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"(?s)sweep mine.yaml.*{said}"):
        load_sweep(written(tmp_path, **content))


@pytest.mark.parametrize(
    "distribution",
    [
        {},
        {"normal": [0, 1]},
        {"uniform": [0, 1], "log": [1, 2]},
        {"uniform": [1, 0]},
        {"uniform": [0]},
        {"uniform": [-1e308, 1e308]},
        {"uniform": ["a", "b"]},
        {"log": [0, 1]},
        {"whole": [0.5, 2]},
        {"whole": [True, 2]},
        {"choice": []},
        {"choice": "ab"},
    ],
)
def test_what_cannot_be_drawn_from(tmp_path: Path, distribution: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"a needs one distribution|a: (choice|uniform|log|whole) needs"):
        load_sweep(written(tmp_path, notebooks="03", random={"draws": 2, "params": {"a": distribution}}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there\.yaml': there is no such file"):
        load_sweep(tmp_path / "there.yaml")


@pytest.mark.parametrize("tags", ["two words", ["a", ""], ["a\tb"]])
def test_tags_are_words(tmp_path: Path, tags: Any) -> None:
    with pytest.raises(UserError, match="is no tag: write one word for each"):
        load_sweep(written(tmp_path, notebooks="03", tags=tags))
    with pytest.raises(UserError, match="is no tag: write one word for each"):
        load_sweep(written(tmp_path, notebooks="03", list=[{"tags": tags}]))


def test_a_negative_number_of_seeds_gets_no_impossible_advice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"from 1 to 10,000, given -1\."):
        load_sweep(written(tmp_path, notebooks="03", seeds=-1))
