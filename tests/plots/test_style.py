"""How figures are shown and saved, and that nothing leaks into pyplot or the settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from PIL import Image
from plot_cases import table

from reidlab.plots.distribution import images_by_split
from reidlab.plots.style import MARKS, axes_or_new, describe, new_figure, save_figure, set_alt


def test_marks_differ_in_colour_and_in_line_or_sign() -> None:
    assert len({mark.colour for mark in MARKS.values()}) == len({mark.sign for mark in MARKS.values()}) == 4
    assert (MARKS["right"].line, MARKS["wrong"].line, MARKS["ignored"].line) == ("solid", "dashed", "dotted")


def test_nothing_leaks() -> None:
    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    images_by_split(table())
    assert plt.get_fignums() == before and dict(mpl.rcParams) == settings


def test_plots_do_without_pyplot_and_torch() -> None:
    modules = "distribution, galleries, pictures, retrieval, style, training, triplets"
    code = f"import sys; from reidlab.plots import {modules}; sys.exit(bool({{'torch', 'matplotlib.pyplot'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_given_axes_are_used() -> None:
    figure, ax = plt.subplots()
    try:
        assert images_by_split(table(), ax=ax) is ax
        assert describe(figure) == describe(ax) != ""
    finally:
        plt.close(figure)


def test_axes_show_their_figure() -> None:
    ax = axes_or_new(None)
    set_alt(ax, "An empty figure.")
    data, metadata = ax._repr_mimebundle_()  # type: ignore[attr-defined]
    assert data["image/png"][:4] == b"\x89PNG" and metadata["image/png"]["alt"] == "An empty figure."


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_saved_with_alt_text(tmp_path: Path, suffix: str) -> None:
    figure = new_figure(2, 2)
    set_alt(figure, "Nothing.")
    path = save_figure(figure, tmp_path / "deep" / f"a.{suffix}")
    assert path.stat().st_size > 100
    if suffix == "png":
        assert Image.open(path).text["Description"] == "Nothing."  # type: ignore[attr-defined]


@pytest.mark.notebook
def test_a_notebook_shows_axes_and_figures_once() -> None:
    import nbclient
    import nbformat

    cells = [
        "%matplotlib inline\nimport pandas as pd\nfrom reidlab.plots.distribution import images_by_split, distribution_overview",
        "table = pd.DataFrame({'pid': [1, 1, 2], 'camid': [1, 2, 2], 'split': ['train', 'train', 'val']})",
        "images_by_split(table)",
        "distribution_overview(table)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, kernel_name="python3").execute()
    for cell in book.cells[2:]:
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == 1 and pictures[0]["metadata"]["image/png"]["alt"]


def test_inline_pictures_full_of_photographs_stay_light() -> None:
    import io

    import numpy as np
    from PIL import Image

    from reidlab.plots import style

    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format="PNG")
    light = style._light(out.getvalue())
    assert len(light) < len(out.getvalue()) / 2
    with Image.open(io.BytesIO(light)) as opened:
        assert opened.size == (600, 600)
    assert style._light(b"small") == b"small"
