r"""Names of users in figures: drawn as they are written, in every figure, whatever they hold.

Before, `$\frac{$x_c0_0.jpg` broke notebooks 01 and 04: Matplotlib took it for a formula.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from plot_cases import people
from test_retrieval_figures import data

from reidlab import plots
from reidlab.data import audit as auditing
from reidlab.figure_text import block, cut, plain, printable
from reidlab.plots.pictures import draw_image
from reidlab.plots.style import axes_or_new, describe, new_figure, save_figure, set_alt
from reidlab.plots.triplets import triplet_rows
from reidlab.retrieval import Embeddings, reliability_table, verification
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.top import rank_gallery

HOSTILE = {
    "formula": r"$\frac{$x_c0_0.jpg",
    "sub": "a_b^c",
    "even": "$a$ and $b$",
    "escaped": r"\$5 \\$6",
    "html": "<img src=x onerror=alert(1)>",
    "control": "a\x00\x07\x1b[31mb",
    "long": "x" * 300,
    "emoji": "\U0001fae0 \U0001f9ff",
    "no_glyph": "张三",
    "rtl": "שלום עולם",
    "override": "abc\u202etxt.exe",
    "surrogate": "a\ud800b",
    "underscore": "_hidden",
    "lines": "one\ntwo\r\nthree\u2028four",
    "empty": "",
}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (r"$\frac{$x", r"\$\frac{\$x"),
        ("a_b^c", "a_b^c"),
        ("_hidden", " _hidden"),
        ("a\x07b", r"a\x07b"),
        ("张", r"\u5f20"),
        ("one\n two\t", "one two"),
        ("abc\u202e", r"abc\u202e"),
        ("\ud800", r"\ud800"),
        (7, "7"),
        (None, "None"),
        ("é✓…", "é✓…"),
    ],
)
def test_plain(given: Any, wanted: str) -> None:
    assert plain(given) == wanted


def test_lengths() -> None:
    assert (cut("abc"), cut(12345678901), len(cut("x" * 50, 7))) == ("abc", "123…678901", 7)
    assert len(plain("x" * 300)) == 40 and plain("x" * 300, 10) == "xxx…xxxxxx"
    assert plain("$" * 300, 4).replace(r"\$", "$") == "$…$$"
    assert block("a\n$b\n" + "c\n" * 50).split("\n") == ["a", r"\$b", "c", "c", "c", "c"]
    assert printable("$a$\x00\n b") == r"$a$\x00 b"


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=50))
def test_any_text_is_drawn_as_it_is(text: str) -> None:
    figure = new_figure(2, 1)
    shown = figure.text(0.5, 0.5, plain(text))
    figure.canvas.draw()  # warnings are errors
    assert not is_math_text(shown.get_text())
    drawn, how = shown._preprocess_math(shown.get_text())  # type: ignore[attr-defined]
    assert how is False
    letters = set(drawn) - set(text)
    assert letters <= set(r" \xuUN…0123456789abcdef"), "nothing but escapes, spaces and the ellipsis is added"


def frame(name: str, n: int = 24) -> pd.DataFrame:
    """An image table whose every name is the hostile one, numbered so that they differ."""
    return pd.DataFrame(
        {
            "pid": [f"{name}{i % 4}" for i in range(n)],
            "camid": [f"{name}{i % 3}" for i in range(n)],
            "split": [("train", "query", name or "x")[i % 3] for i in range(n)],
            "width": 8,
            "height": 16,
        }
    )


def retrieval(name: str) -> dict[str, Any]:
    given = data()
    for key in ("query_pids", "gallery_pids", "query_camids", "gallery_camids"):
        given[key] = np.array([f"{name}{value}" for value in given[key]])
    return given


def rankings(name: str) -> Figure:
    given = retrieval(name)
    tables = [pd.DataFrame({"pid": given[f"{s}_pids"], "camid": given[f"{s}_camids"]}) for s in ("query", "gallery")]
    listing = rank_gallery(**given, queries=[2, 5], k=4)
    pictures = {"query_images": people(12), "gallery_images": people(60)}
    return plots.ranking_figure(listing, *tables, result=evaluate(**given), title=name, **pictures)


def probes(name: str) -> dict[str, Any]:
    forces = np.array([[0.1, 0.2], [0.3, 0.1]])
    strengths = np.hypot(*forces.T)
    return {name: SimpleNamespace(name=name, forces=forces, strengths=strengths, stats={"active_share": 0.5})}


def costs(name: str) -> pd.DataFrame:
    index = [f"{name}{i}" for i in range(3)]
    return pd.DataFrame({"macs": [1e6, 2e7, 3e8], "evaluation": [9.0, 5, 2], "training": [3.0, 2, 1]}, index=index)


def history(name: str) -> pd.DataFrame:
    names = {f"loss_{name}1": [1.0, 0.5], f"loss_{name}2": [2.0, 1.0]}
    return pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 1.5], "val_map": [0.2, 0.3], **names})


def cameras(name: str) -> pd.DataFrame:
    rows = [(f"{name}{i}", f"{name}{j}", 5, 9, 0.5, 0.4) for i in range(2) for j in range(2)]
    return pd.DataFrame(rows, columns=["query_camid", "gallery_camid", "queries", "gallery", "rank1", "mAP"])


def effect_levels(name: str) -> pd.DataFrame:
    rows = [(f"{name}f", f"{name}{i}", i / 2, i / 2 - 0.1, i / 2 + 0.1) for i in range(2)]
    return pd.DataFrame(rows, columns=["factor", "level", "mean", "low", "high"])


def combined(name: str) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    factors = {f"{name}a": (f"{name}1", f"{name}2"), f"{name}b": (f"{name}3", f"{name}4")}
    rows = [(x, y, 0.5) for x in factors[f"{name}a"] for y in factors[f"{name}b"]]
    return pd.DataFrame(rows, columns=[*factors, "mean"]), factors


def board(name: str) -> pd.DataFrame:
    scores = pd.DataFrame({"test_set": name, "model": [f"{name}{i}" for i in range(3)], "mAP": [0.7, 0.5, 0.6]})
    spans = {"mAP_low": [0.6, 0.4, np.nan], "mAP_high": [0.8, 0.6, np.nan], "macs": [1e9, 1e6, np.nan], "speed": np.nan}
    return scores.assign(**spans, front_macs=[True, True, False], front_speed=False)


def confused(name: str) -> pd.DataFrame:
    row = {"pid": f"{name}1", "taken_for": f"{name}2", "times": 2, "queries": 3, "share": 0.5, "query": 0, "gallery": 1}
    return pd.DataFrame([row])


def suspicious(name: str) -> pd.DataFrame:
    row = {"kind": "label", "score": 0.5, "pid": f"{name}1", "other_pid": f"{name}2", "row": 0, "other_row": 1}
    return pd.DataFrame([row | {"reason": f"of its 10 nearest images 9 are of {name}2, 0 of {name}1"}])


def curves(name: str) -> dict[str, Any]:
    pids = np.arange(20) % 5
    vectors = np.random.default_rng(0).normal(size=(5, 4))[pids] + 0.1
    return {f"{name}{i}": verification(vectors, vectors, query_pids=pids, gallery_pids=pids) for i in range(2)}


def reliabilities(name: str) -> dict[str, Any]:
    stated = np.linspace(0, 1, 50)
    return {f"{name}{i}": reliability_table(stated, stated > 0.5) for i in range(2)}


def on_corrupted(name: str) -> pd.DataFrame:
    rows = [(f"{name}{i}", part, severity) for i in range(2) for part, severity in (("", 0), ("fog", 1), ("fog", 5))]
    frame = pd.DataFrame(rows, columns=["model", "corruption", "severity"])
    return frame.assign(mAP=0.5, low=0.4, high=0.6, rank1=0.5, run=name)


def across_domains(name: str) -> pd.DataFrame:
    frame = pd.DataFrame({"model": [f"{name}1"], "test_set": [f"{name}2"], "in_domain": [True]})
    scores = {f"{score}{end}": 0.5 for score in ("rank1", "mAP") for end in ("", "_low", "_high")}
    return frame.assign(**scores)


def mapped(name: str) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.png" for i in range(8)]
        for path, pixels in zip(paths, people(8)):
            Image.fromarray(pixels).save(path)
        pids = [f"{name}{i % 2}" for i in range(8)]
        table = pd.DataFrame({"path": list(map(str, paths)), "pid": pids, "split": "query"})
        vectors = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
        return plots.embedding_map(Embeddings(vectors, table), method="pca")


def audited(name: str) -> auditing.Audit:
    """Return an audit of two files that are gone, of one person."""
    table = pd.DataFrame({"path": ["gone.png", "away.png"], "pid": [name, name], "split": ["train", "query"]})
    issues = pd.DataFrame([("leak_exact", 0, 1), ("unreadable", 1, -1)], columns=["kind", "row", "other"])
    return auditing.Audit(table, pd.DataFrame({"value_range": [255.0, 255.0]}), issues, pd.DataFrame())


def attention_measures(name: str) -> pd.DataFrame:
    rows = [(name or "x", measure, 0.5, 0.4, 0.6) for measure in ("person", "deletion")]
    return pd.DataFrame(rows, columns=["method", "measure", "mean", "low", "high"])


def autoencoder_terms(name: str) -> pd.DataFrame:
    return pd.DataFrame({"epoch": [1, 2], f"loss_{name}": [1.0, 0.5]})


def against_plain(name: str) -> pd.DataFrame:
    frame = pd.DataFrame({"label": [f"{name}1", f"{name}2"], "difference": [0.1, -0.1], "noise": [True, False]})
    return frame.assign(low=[-0.1, -0.2], high=[0.3, -0.05])


def removal(name: str) -> pd.DataFrame:
    rows = [(name, kind, share, 1 - share) for kind in ("deletion", "insertion") for share in (0.0, 0.5, 1.0)]
    return pd.DataFrame(rows, columns=["method", "kind", "share", "similarity"])


def pairs_of_cosines() -> SimpleNamespace:
    said = np.linspace(-1, 1, 8)
    return SimpleNamespace(teacher=said, student=said**3, same=said > 0.2)


def pair_of_maps(name: str) -> Figure:
    parts = (np.array([[0.1, -0.2], [0.3, 0.1]]), np.array([[0.1, 0.2]]))
    return plots.pair_figure([parts], people(1), people(1), [0.3], ["wrong"], [name], title=name)


def mean_gates(name: str) -> pd.DataFrame:
    return pd.DataFrame({name: [0.2, 0.9], f"{name} too": [0.8, 0.1]}, index=[name, f"{name}2"])


FIGURES: dict[str, Callable[[str], Any]] = {
    "activity_histogram": lambda name: plots.activity_histogram({name: np.eye(4)}),
    "agreement_figure": lambda name: plots.agreement_figure(attention_measures(name)),
    "attention_grid": lambda name: plots.attention_grid(
        people(2), {name or "x": np.full((2, 4, 2), 0.5)}, [name, name], title=name
    ),
    "camera_matrix": lambda name: plots.camera_matrix(cameras(name)),
    "confused_identities": lambda name: plots.confused_identities(
        confused(name), query_images=people(2), gallery_images=people(2)
    ),
    "corruption_figure": lambda name: plots.corruption_figure(people(1), ["fog"]),  # no name of a user is in it
    "cosine_agreement": lambda name: plots.cosine_agreement({name: pairs_of_cosines()}),
    "decoded_figure": lambda name: plots.decoded_figure({name: people(2)}, [name, name], title=name),
    "deletion_curves": lambda name: plots.deletion_curves(removal(name)),
    "difference_figure": lambda name: plots.difference_figure(against_plain(name), against=name),
    "domain_heatmaps": lambda name: plots.domain_heatmaps(across_domains(name)),
    "embedding_map": mapped,
    "gate_bars": lambda name: plots.gate_bars({name: mean_gates(name)}, of=name or "camera"),
    "gate_map": lambda name: plots.gate_map(mean_gates(name), of=name),
    "interaction_chart": lambda name: plots.interaction_chart(*combined(name), measure=name),
    "level_chart": lambda name: plots.level_chart(effect_levels(name), measure=name),
    "pair_figure": pair_of_maps,
    "pareto_chart": lambda name: plots.pareto_chart(board(name)),
    "reliability": lambda name: plots.reliability(reliabilities(name)),
    "robustness_figure": lambda name: plots.robustness_figure(on_corrupted(name)),
    "roc_curve": lambda name: plots.roc_curve(curves(name)),
    "six_panels": lambda name: plots.six_panels(people(1)[0], {name or "x": np.eye(4, 2)}, title=name),
    "score_bars": lambda name: plots.score_bars(evaluate(**data())),  # no name of a user is in it
    "term_curves": lambda name: plots.term_curves({name: autoencoder_terms(name)}),
    "trade_off_figure": lambda name: plots.trade_off_figure(
        pd.DataFrame({"label": [name, name], "mAP": [0.4, 0.3], "error": [0.2, 0.1], "front": [True, False]})
    ),
    "suspicious_labels": lambda name: plots.suspicious_labels(suspicious(name), images=people(2)),
    "findings_sheet": lambda name: plots.findings_sheet(audited(name)),
    "images_by_identity": lambda name: plots.images_by_identity(frame(name)),
    "images_by_camera": lambda name: plots.images_by_camera(frame(name)),
    "images_by_split": lambda name: plots.images_by_split(frame(name)),
    "identity_camera_map": lambda name: plots.identity_camera_map(frame(name)),
    "image_sizes": lambda name: plots.image_sizes(frame(name)),
    "distribution_overview": lambda name: plots.distribution_overview(frame(name)),
    "contact_sheet": lambda name: plots.contact_sheet(people(3), [name, f"id {name}", f"{name}\n{name}"], title=name),
    "triplet_rows": lambda name: triplet_rows(
        people(3).reshape(1, 3, 16, 8, 3), np.array([[name, name, name]], dtype=object), np.array([[name] * 3], object)
    ),
    "triplet_balance": lambda name: plots.triplet_balance(
        pd.DataFrame({"anchor_pid": [name, name], "negative_pid": [name, f"{name}1"]})
    ),
    "cmc_curve": lambda name: plots.cmc_curve({f"{name}a": evaluate(**data()), f"{name}b": evaluate(**data())}),
    "distance_histogram": lambda name: plots.distance_histogram(
        pd.DataFrame({"same": [True, False], "distance": [0.0, 1.0]}), unit=name
    ),
    "ranking_figure": rankings,
    "training_history": lambda name: plots.training_history(history(name), title=name),
    "cost_chart": lambda name: plots.cost_chart(costs(name)),
    "loss_forces": lambda name: plots.loss_forces([[0.0, 1], [1, 0]], [0, 1], probes(name)),
    "loss_shares": lambda name: plots.loss_shares([0, 1], probes(name)),
    "loss_progress": lambda name: plots.loss_progress(pd.DataFrame([[0.5, 0.2]], index=[name], columns=[0, 0.5])),
    "augmentation_figure": lambda name: plots.augmentation_figure(
        people(2), {name or "x": lambda images, _: images}, title=name
    ),
}
NOT_DRAWN = {"choose_queries", "describe", "history_table", "reidlab_style", "save_figure", "triplet_figure"}


def test_every_figure_is_in_the_walk() -> None:
    assert set(FIGURES) | NOT_DRAWN == set(plots.__all__), "a figure needs an entry here"


WALKED = {name: HOSTILE[name] for name in ("formula", "even", "long", "empty")}
WALKED["mixed"] = "".join(HOSTILE[name] for name in ("underscore", "control", "emoji", "no_glyph", "override", "lines"))
WALKED["mixed"] = WALKED["mixed"].replace("\x00", "")  # identities with one are refused
WALKED["markup"] = HOSTILE["html"] + HOSTILE["sub"] + HOSTILE["rtl"]


@pytest.mark.parametrize("kind", WALKED)
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_draw_hostile_names(figure: str, kind: str, tmp_path: Path) -> None:
    made = FIGURES[figure](WALKED[kind])
    save_figure(made, tmp_path / "a.png", dpi=30)  # draws by Agg; warnings are errors
    whole = made if isinstance(made, Figure) else made.get_figure(root=True)
    for text in whole.findobj(Text):
        assert not is_math_text(text.get_text()), text.get_text()
        assert len(max(text.get_text().split("\n"), key=len)) < 200, "a long name is cut"
    alt = describe(made)
    assert alt.isprintable(), alt
    shown = made._repr_mimebundle_()  # a bare Figure of matplotlib is a line of text in a notebook without pyplot
    assert "image/png" in (shown[0] if isinstance(shown, tuple) else shown)


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    for name in HOSTILE.values():
        figure = new_figure(2, 1)
        figure.text(0.5, 0.5, plain(name))
        set_alt(figure, name)
        save_figure(figure, tmp_path / f"a.{suffix}")


def test_names_stand_in_the_legend() -> None:
    ax = plots.cmc_curve({"_a": evaluate(**data()), "_b": evaluate(**data())})
    assert [text.get_text().strip()[:3] for text in ax.get_legend().get_texts()] == ["_a:", "_b:"]


def test_captions_keep_their_lines_and_lose_their_formulas() -> None:
    ax = axes_or_new(None)
    draw_image(ax, people(1)[0], "wrong", "$a$\n_b")
    assert ax.get_xlabel() == "✗ \\$a\\$\n _b"


@pytest.mark.parametrize("name", ["formula", "no_glyph", "underscore"])
def test_the_sheet_of_an_audit(tmp_path: Path, name: str) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        Image.fromarray(people(1)[0]).save(path)
    table = pd.DataFrame(
        {
            "path": list(map(str, paths)),
            "pid": [HOSTILE[name]] * 2 + ["b"] * 2,
            "camid": ["1", "2", "1", "2"],
            "split": ["train", "train", "query", "gallery"],
        }
    )
    figure = plots.findings_sheet(auditing.audit(table, workers=1))
    figure.savefig(tmp_path / "sheet.png")
    assert not any(is_math_text(text.get_text()) for text in figure.findobj(Text))
