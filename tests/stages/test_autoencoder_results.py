"""The grid over several seeds as a table: means and tests by hand, and a verdict that needs both intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reidlab.errors import UserError
from reidlab.retrieval import RetrievalResult, evaluate
from reidlab.stages.autoencoder_results import PLAIN, Grid, _cell, grid_table, kept_grid, verdict, write_grid

PEOPLE = 15


def result(noise: float, seed: int) -> RetrievalResult:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(PEOPLE), 4)
    vectors = np.eye(PEOPLE)[pids] + noise * rng.normal(size=(len(pids), PEOPLE))
    query = np.arange(len(pids)) % 4 == 0
    return evaluate(vectors[query], vectors[~query], query_pids=pids[query], gallery_pids=pids[~query])


@pytest.fixture(scope="module")
def grid() -> Grid:
    """Noisier embeddings are worse ones; "same" is the plain one with other seeds."""
    noises: dict[tuple[str, float], float] = {(PLAIN, 0.0): 0.5, ("good", 1.0): 0.1, ("bad", 10.0): 2.0}
    found = {cell: {seed: result(noise, seed) for seed in (0, 1, 2)} for cell, noise in noises.items()}
    return {**found, ("same", 0.0): {seed: result(0.5, seed + 7) for seed in (0, 1, 2)}}


def test_the_table_by_hand(grid: Grid) -> None:
    table: Any = grid_table(grid, draws=500)
    assert list(table["kind"]) == [PLAIN, "bad", "good", "same"] and list(table["seeds"]) == [3] * 4
    rows = table.set_index("kind")
    plain = np.array([grid[PLAIN, 0.0][seed].mean_ap for seed in (0, 1, 2)])
    for (kind, _), results in grid.items():
        scores = np.array([results[seed].mean_ap for seed in (0, 1, 2)])
        assert rows.loc[kind, "mAP"] == pytest.approx(scores.mean())
        reach = stats.t.ppf(0.975, 2) * scores.std(ddof=1) / np.sqrt(3)
        assert rows.loc[kind, "seeds_low"] == pytest.approx(scores.mean() - reach)
        if kind != PLAIN:
            change = scores - plain
            assert rows.loc[kind, "difference"] == pytest.approx(change.mean())
            reach = stats.t.ppf(0.975, 2) * change.std(ddof=1) / np.sqrt(3)
            assert rows.loc[kind, "of_seeds_high"] == pytest.approx(change.mean() + reach)
            assert rows.loc[kind, "difference_low"] <= rows.loc[kind, "difference"] <= rows.loc[kind, "difference_high"]
    assert rows["better"].tolist()[1:] == ["worse", "yes", "no"]
    assert rows.loc["good", "p"] == pytest.approx(3 / 501), "no shuffle reached it, times three comparisons"


def test_one_seed_proves_nothing(grid: Grid) -> None:
    alone = {cell: {0: results[0]} for cell, results in grid.items()}
    table = grid_table(alone, draws=500)
    assert table["better"].tolist()[1:] == ["no", "no", "no"] and table["of_seeds_low"].isna().all()
    fewer = {**grid, ("good", 1.0): {1: grid["good", 1.0][1], 2: grid["good", 1.0][2]}}
    change = np.mean([grid["good", 1.0][seed].mean_ap - grid[PLAIN, 0.0][seed].mean_ap for seed in (1, 2)])
    row = grid_table(fewer, draws=500).set_index("kind").loc["good"]
    assert row["difference"] == pytest.approx(change), "the plain ones of the same seeds"


def test_what_is_written(grid: Grid, tmp_path: Path) -> None:
    table = grid_table(grid, draws=200)
    write_grid(table, tmp_path / "new" / "grid.md", "About.")
    text = (tmp_path / "new" / "grid.md").read_text(encoding="utf-8")
    assert "Some autoencoders beat the plain backbone: good (1)" in text and "About." in text
    assert text.count("\n| ") == 1 + len(table) and "nan" not in text
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "grid.csv"), table, check_dtype=False)
    said = verdict(table[table["kind"] != "good"])
    assert said.startswith("**No autoencoder") and "0 are better, 1 worse and 1 cannot" in said


def test_cells_of_recipes() -> None:
    terms = [{"name": "triplet", "weight": 1.0}, {"name": "reconstruction", "weight": 10.0}]
    assert _cell({"name": "siamese_x_vae", "losses": terms}) == ("vae", 10.0)
    assert _cell({"name": "siamese_x_plain", "losses": terms[:1]}) == (PLAIN, 0.0)


def test_what_is_refused(grid: Grid, own_data: Path) -> None:
    with pytest.raises(UserError, match="no plain backbone to compare"):
        grid_table({("good", 1.0): grid["good", 1.0]})
    with pytest.raises(UserError, match="seed 9 has no plain backbone"):
        grid_table({**grid, ("good", 1.0): {9: grid["good", 1.0][0]}})
    with pytest.raises(UserError, match="no scored training of siamese_osnet_x025 on market1501 over 5 epochs"):
        kept_grid("market1501")
