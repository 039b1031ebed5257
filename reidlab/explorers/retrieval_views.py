"""What the explorer of rankings shows: its controls, the captions of its pictures, its sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.explorers.base import row
from reidlab.explorers.grid import item
from reidlab.explorers.pictures import Thumbnails
from reidlab.explorers.rankings import Ranked, Rankings
from reidlab.explorers.strip import ORDERS
from reidlab.explorers.uploader import Uploader
from reidlab.explorers.uploads import LARGEST, Kept

if TYPE_CHECKING:
    from reidlab.explorers.retrieval import RetrievalExplorer, RetrievalState
    from reidlab.retrieval.calibrated import Calibration

__all__ = ["Captions", "RetrievalControls", "hits", "thumbnails_of", "told"]

RERANKINGS = {"as embedded": "", "k-reciprocal": "k_reciprocal", "alpha query expansion": "alpha_qe"}
MOST_NAMES = 2000  # identities that are offered while one types
_PLAIN = {"description_width": "initial"}

Tables = Mapping[str, pd.DataFrame]


class RetrievalControls:
    """The controls of a `RetrievalExplorer`, bound to its state.

    Attributes:
        above: of the queries.
        below: of the ranking.
        legend: what signs and numbers mean.
    """

    def __init__(self, explorer: RetrievalExplorer) -> None:
        self.explorer = explorer
        self.above, self.below = (self._of_queries(),), (self._of_ranking(),)
        self.legend = ipywidgets.HTML(escape(_legend(explorer.calibration, explorer.prior)))
        self.legend.add_class("reid-legend")
        explorer.state.observe(self._follow, ["subject", "history"])

    def _of_queries(self) -> ipywidgets.Box:
        explorer, bind = self.explorer, self.explorer.bind
        order = ipywidgets.Dropdown(options=_swapped(ORDERS), description="Queries", style=_PLAIN)
        names = list(dict.fromkeys(explorer.queries.names))[:MOST_NAMES]
        pid = ipywidgets.Combobox(
            options=names, placeholder="all", description="identity", continuous_update=False, style=_PLAIN
        )
        only = ipywidgets.Checkbox(description="only where the nearest is wrong", indent=False)
        self.number = ipywidgets.BoundedIntText(
            0, min=0, max=len(explorer.queries) - 1, description="no.", style=_PLAIN
        )
        self.number.observe(self._jump, "value")
        steps = [_button("◀", "Previous query", lambda _: explorer.step(-1))]
        steps.append(_button("▶", "Next query", lambda _: explorer.step(1)))
        for narrow, width in ((order, "190px"), (pid, "170px"), (self.number, "120px"), (only, "auto")):
            narrow.layout.width = width
        bound = [bind("order", order), *steps, self.number, bind("pid", pid), bind("only_wrong", only)]
        return row(*bound)

    def _of_ranking(self) -> ipywidgets.Box:
        explorer, bind = self.explorer, self.explorer.bind
        k = ipywidgets.IntSlider(20, min=1, max=100, description="Nearest", continuous_update=False, style=_PLAIN)
        camera = ipywidgets.Dropdown(options=_cameras(explorer.tables), description="camera", style=_PLAIN)
        camera.disabled = len(camera.options) == 1
        rerank = ipywidgets.Dropdown(options=list(RERANKINGS.items()), description="ranked", style=_PLAIN)
        ignored = ipywidgets.Checkbox(description="show ignored", indent=False)
        self.back = _button("↩ Back", "Return to what was shown before", explorer.back)
        self.back.disabled = True
        tooltip = f"One person, cut out; up to {LARGEST // 2**20} MiB"
        self.file = Uploader(
            explorer.upload, explorer.refuse, explorer.unread, limit=LARGEST, description="Own image", tooltip=tooltip
        )
        if explorer._embed is None:
            self.file.disabled, self.file.tooltip = True, "Needs RetrievalExplorer(..., model=...)"
        for narrow, width in ((k, "250px"), (camera, "220px"), (rerank, "220px"), (ignored, "auto")):
            narrow.layout.width = width
        bound = [bind("k", k), bind("camera", camera), bind("rerank", rerank), bind("show_ignored", ignored)]
        return row(*bound, self.back, self.file)

    def _follow(self, _: Any) -> None:
        """Show the number of the query, and whether there is a way back."""
        subject = self.explorer.state.subject
        if subject[:1] == "q" and subject[1:].isdecimal() and int(subject[1:]) <= self.number.max:
            self.number.value = int(subject[1:])
        self.back.disabled = not self.explorer.state.history

    def _jump(self, change: Any) -> None:
        self.explorer.go(f"q{change.new}")


def _button(text: str, tooltip: str, handler: Callable[[Any], Any]) -> ipywidgets.Button:
    button = ipywidgets.Button(description=text, tooltip=tooltip)
    button.layout.width = "auto"
    button.on_click(handler)
    return button


def _swapped(choices: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(told, name) for name, told in choices.items()]


def _cameras(tables: Tables) -> list[tuple[str, str]]:
    """Return what can be chosen of cameras: their words, and the state's."""
    if not all("camid" in table for table in tables.values()):
        return [("all (not known)", "")]
    names = sorted(tables["g"]["camid"].unique().tolist())
    return [("all", ""), ("all but the query's", "others"), *((str(name), f"camera:{name}") for name in names)]


def _legend(calibration: Calibration | None, prior: float) -> str:
    signs = "✓ right, ✗ wrong, – ignored (the query's identity in its own camera, junk, the query itself). "
    if calibration is None:
        return f"{signs}The cosine (or distance) below each image is a score, no probability."
    return (
        f"{signs}Probability that an image of this cosine shows the query's person, assuming that one image in "
        f"{1 / prior:,.3g} does: {calibration.sentence()}."
    )


def thumbnails_of(query: pd.DataFrame, gallery: pd.DataFrame, store: Any) -> dict[str, Thumbnails]:
    """Return the pictures of both tables, from a store of one after the other, of (store, table), or from files.

    Raises:
        UserError: the store lacks an image.
    """
    if store is None:
        return {"q": Thumbnails(query), "g": Thumbnails(gallery)}
    store, table = store if isinstance(store, tuple) else (store, None)
    if table is None:
        if store.n_images != len(query) + len(gallery):
            raise UserError(
                f"The pixel store has {store.n_images} images, query and gallery {len(query) + len(gallery)}: give "
                "(store, table) with the table that it was built of."
            )
        rows = np.arange(store.n_images)
        return {
            "q": Thumbnails(query, store, rows=rows[: len(query)]),
            "g": Thumbnails(gallery, store, rows=rows[len(query) :]),
        }
    place = {path: at for at, path in enumerate(table["path"])}
    missing = next((path for side in (query, gallery) for path in side["path"] if path not in place), None)
    if missing is not None:
        raise UserError(f"The table of the pixel store has no image {shown(missing)}: it is of another data set.")
    found = {name: np.array([place[path] for path in side["path"]]) for name, side in (("q", query), ("g", gallery))}
    return {"q": Thumbnails(query, store, rows=found["q"]), "g": Thumbnails(gallery, store, rows=found["g"])}


class Captions:
    """What is written about images; a table's rows are looked up in arrays, which is a hundred times as fast.

    Args:
        tables: of queries "q" and gallery "g".
        uploads: images of the user's own by key.
    """

    def __init__(self, tables: Tables, uploads: Mapping[str, Kept]) -> None:
        self.uploads = uploads
        columns = {"pid": "pid", "camid": "camid", "path": "file"}
        self.columns = {
            side: {name: table[column].to_numpy(dtype=object) for column, name in columns.items() if column in table}
            for side, table in tables.items()
        }

    def of(self, key: str) -> dict[str, Any]:
        """Return what is known of an image: pid, camid and file, as far as there are any."""
        if key in self.uploads:
            return {"file": self.uploads[key].image.name}
        row, known = int(key[1:]), self.columns[key[0]]
        found = {name: values[row] for name, values in known.items()}
        return found | ({"file": PurePath(str(found["file"])).name} if "file" in found else {})

    def who(self, key: str) -> str:
        """Return in a few words whom an image shows."""
        if key in self.uploads:
            return "own image"
        known = self.of(key)
        return f"id {known['pid']}" + (f", cam {known['camid']}" if "camid" in known else "")

    def short(self, key: str) -> str:
        """Return the same for a caption: "id 3, cam 2" may break after the comma alone."""
        return self.who(key).replace("id ", "id\u00a0", 1).replace(", cam ", ", cam\u00a0")

    def alt(self, key: str) -> str:
        """Return what a picture shows for those who do not see it: who, and the file's name."""
        if key in self.uploads:
            return f"uploaded image {self.uploads[key].image.name}"
        side, known = {"q": "query", "g": "gallery"}[key[0]], self.of(key)
        return f"{side} image {key[1:]}, {self.who(key)}" + (f", {known['file']}" if "file" in known else "")


def hits(
    ranked: Ranked,
    state: RetrievalState,
    captions: Captions,
    rankings: Rankings,
    calibration: Calibration | None,
    prior: float,
) -> list[dict[str, str]]:
    """Return the items of the nearest gallery images, as the state wants them."""
    positions = ranked.positions(state.k, show_ignored=state.show_ignored, among=_among(state, captions))
    cosines = rankings.cosines(ranked, positions)
    sure = None if calibration is None else calibration.probability(cosines, prior=prior)
    items = []
    for at, position in enumerate(positions.tolist()):
        key = f"g{ranked.gallery[position]}"
        lines = [] if sure is None else [f"{sure[at]:.0%} same"]
        lines.append(f"cosine {cosines[at]:.3f}")
        if not ranked.plain or ranked.shown == "distance":
            lines.append(f"{ranked.shown} {round(ranked.value[position], 3) + 0.0:.3f}")
        rank = f"rank {ranked.rank[position]}" if ranked.rank[position] else "ignored"
        detail = "\n".join([*lines, rank])
        items.append(item(key, captions.short(key), detail, ranked.sign(position), captions.alt(key)))
    return items


def _among(state: RetrievalState, captions: Captions) -> npt.NDArray[np.bool_] | None:
    """Return which gallery images may be shown by their camera; None: all."""
    cameras = captions.columns["g"].get("camid")
    if not state.camera or cameras is None:
        return None
    if state.camera != "others":
        return np.array([str(camera) == state.camera.removeprefix("camera:") for camera in cameras], bool)
    own = captions.of(state.subject)
    return np.asarray(cameras != own["camid"], bool) if "camid" in own else None


def told(state: RetrievalState, ranked: Ranked, n_chosen: int, form: str, captions: Captions) -> str:
    """Return a sentence on the ranking that is shown; `n_chosen` queries are in the strip."""
    name = {"q": f"Query {state.subject[1:]}", "g": f"Gallery image {state.subject[1:]} as query"}
    words = [f"{name.get(state.subject[0], 'Uploaded image')} ({captions.who(state.subject)}): "]
    ranks = ranked.right_ranks
    if not ranked.known:
        words.append("nobody said whom it shows, so that nothing is right or wrong.")
    elif not len(ranks):
        words.append(f"no right image in the gallery, {ranked.n_ignored} ignored.")
    else:
        kind = "" if form == "plain" else f" ({form})"
        words.append(f"AP {ranked.ap(form):.1%}{kind}, first right image at rank {ranks[0]}, ")
        words.append(f"{len(ranks)} right in the gallery, {ranked.n_ignored} ignored.")
    if state.rerank:
        words.append(
            " Not re-ranked: that takes a query of the set." if ranked.plain else f" Re-ranked: {state.rerank}."
        )
    if not n_chosen:
        words.append(" No query is left by the choice of identity and errors.")
    elif n_chosen < len(captions.columns["q"]["pid"]):
        words.append(f" {n_chosen:,} of {len(captions.columns['q']['pid']):,} queries are chosen.")
    return "".join(words)
