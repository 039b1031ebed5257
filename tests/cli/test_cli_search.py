"""`reidlab search` and `reidlab compare` as a user types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidlab.cli import main

XSS = "<img src=x onerror=alert(1)>.jpg"


@pytest.fixture
def crops(own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of all kinds of files, and work beside it."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "crops"
    folder.mkdir()
    for name in ("0001_c1_0.png", "0001_c2_0.png", "0002_c1_0.png", XSS):
        Image.fromarray(rng.integers(0, 256, (24, 12, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "0001_c1_0.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_table(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--query", "crops/0001_c1_0.png", "--gallery", "crops", "--top", "2"]) == 0
    out, told = capsys.readouterr()
    assert "crops/0001_c1_0.png" in out and "probability" in out and "camera" in out
    assert "1 query, 4 gallery images, model small, index flat" in told
    assert "2 files were skipped:" in told and "crops/broken.jpg: " in told
    assert "notes.txt: not named as an image (.txt)" in told and "Note: Probabilities assume" in told


def test_json_and_csv_say_the_same(crops: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["search", "-q", "crops/0001_c1_0.png", "-g", "crops/*.png", "-g", f"crops/{XSS}"]
    assert main([*words, "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert main([*words, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [hit["file"] for hit in hits] and len(hits) == 3
    assert float(rows[0]["similarity"]) == pytest.approx(hits[0]["similarity"], abs=1e-6)
    assert main([*words, "--csv", "-o", str(tmp_path / "out" / "hits.csv")]) == 0
    assert (tmp_path / "out" / "hits.csv").read_text().count("\n") == 4


def test_a_page_shows_pictures_and_runs_nothing(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "-q", "crops/0001_c1_0.png", "-g", "crops", "--html"]) == 0
    (page,) = (crops.parent / "reports" / "html").glob("search-*.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 4
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in text and "<img src=x" not in text
    assert "notes.txt" in text and "broken.jpg" in text and "Content-Security-Policy" in text
    assert str(page.name) in capsys.readouterr().out


def test_compare(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = [str(crops / "0001_c1_0.png"), str(crops / "0001_c2_0.png")]
    assert main(["compare", *pair]) == 0
    assert "false-accept rate of 0.01: similarity" in capsys.readouterr().out
    assert main(["compare", *pair, "--json", "--rate", "0.001"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rate"] == 0.001 and found["model"] == "small" and isinstance(found["same"], bool)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "-q", "gone.jpg", "-g", "crops"], "query: there is no file or folder gone.jpg"),
        (["search", "-q", "crops/notes.txt", "-g", "crops"], "query: none of 1 files can be read as an image"),
        (["search", "-q", "crops", "-g", "crops", "--json", "--csv"], "choose one of them"),
        (["search", "-q", "crops", "-g", "crops", "-o", "x"], "--output is for --csv and --html"),
        (["search", "-q", "crops", "-g", "crops", "--run", "nobody"], "nobody"),
        (["search", "-q", "crops", "-g", "crops", "--index", "crops"], "crops"),
        (["compare", "crops/notes.txt", "crops/0001_c1_0.png"], "first: none of 1 files"),
    ],
)
def test_mistakes_are_named(crops: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert len(list(crops.iterdir())) == 6  # nothing is lost


def test_a_page_holds_so_many_pictures(
    crops: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidlab.workbook.search_page.MOST", 3)
    assert main(["search", "-q", "crops/0001_c1_0.png", "-g", "crops", "--html"]) == 2
    assert "Take fewer queries or a smaller --top" in capsys.readouterr().err


def test_ctrl_c_says_what_is_kept(
    crops: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reidlab.search.searching.embed_files", stopped)
    assert main(["search", "-q", "crops/0001_c1_0.png", "-g", "crops"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
