"""Curves of trainings, compared with each other, and live while one of them runs."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import ipywidgets
import traitlets

from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.drawing import Drawing
from reidlab.explorers.training_views import MOST, curve_figure, curves_of, shown_first, slots_of, training_table
from reidlab.explorers.trainings import Training, find_trainings, signature
from reidlab.store.runs import Run

__all__ = ["TrainingExplorer"]

FIRST = ("loss", "val_map", "lr", "active_share")  # curves that are shown unasked
PERIOD = 3.0  # seconds between two looks at the store
_PLAIN = {"description_width": "initial"}


class TrainingState(traitlets.HasTraits):
    """What is chosen: trainings by their keys, curves by their columns, smoothing, whether new epochs are awaited."""

    chosen = traitlets.Tuple()
    curves = traitlets.Tuple()
    smoothing = traitlets.Float(0, min=0, max=0.99)
    live = traitlets.Bool(False)


class TrainingExplorer(Explorer):
    """Look at the curves of trainings side by side; with `state.live` new epochs appear as they are written.

    Args:
        runs: finished trainings; None: all of the store, and those that run or were stopped.
        chosen: names of those that are shown first; by default the newest and whatever is not done.
    """

    name: ClassVar[str] = "training"
    title: ClassVar[str] = "Trainings"

    def __init__(self, runs: Sequence[Run] | None = None, *, chosen: Iterable[str] = ()) -> None:
        super().__init__(TrainingState())
        self.runs, self.seen = runs, signature()
        self.trainings = find_trainings(runs)
        self.drawings: dict[str, Drawing] = {}
        self.slots: dict[str, int] = {}
        self._listing = False
        self._task: asyncio.Task[None] | None = None
        wanted = [key for key in chosen if key in self.trainings] or shown_first(self.trainings)
        known = curves_of(list(self.trainings.values()))
        self.state.curves = tuple(name for name in FIRST if name in known) or tuple(known)[:4]
        self._controls()
        self.state.observe(self._draw, ["chosen", "curves", "smoothing"])
        self.state.observe(self._follow, "live")
        self._list(wanted)
        self.state.live = any(not each.done for each in self.trainings.values())

    def _controls(self) -> None:
        self.choice = ipywidgets.SelectMultiple(description="Trainings", rows=5, style=_PLAIN)
        self.choice.layout = {"width": "100%", "max_width": "720px"}
        self.choice.observe(lambda change: None if self._listing else self.choose(change["new"]), "value")
        self.boxes = ipywidgets.Box()
        self.boxes.add_class("reid-row")
        smooth = ipywidgets.FloatSlider(
            max=0.95, step=0.05, description="Smoothing", continuous_update=False, style=_PLAIN
        )
        smooth.tooltip = "Share of the running mean that stays at each epoch; 0: the values as they are"
        live = ipywidgets.Checkbox(description="follow new epochs", indent=False, layout={"width": "auto"})
        for name, control in (("smoothing", smooth), ("live", live)):
            self.owns(traitlets.link((self.state, name), (control, "value")))
        again = ipywidgets.Button(description="Refresh", tooltip="Look for new trainings and epochs")
        again.layout.width = "7em"
        again.on_click(lambda _: self.refresh())
        self.figures = ipywidgets.Box()
        self.figures.add_class("reid-row")
        self.table = ipywidgets.HTML()
        self.fill(self.choice, self.boxes, row(smooth, live, again), self.table, self.figures)

    @shown_errors
    def choose(self, keys: Iterable[str]) -> None:
        """Show these trainings, as far as they are there, `MOST` at most."""
        wanted = set(keys)
        self.state.chosen = tuple(key for key in self.trainings if key in wanted)[:MOST]
        self.choice.value = self.state.chosen  # of those that are too many, the list lets go

    @shown_errors
    def show_curve(self, name: str, shown: bool = True) -> None:
        """Show a curve, or no longer."""
        known = curves_of(list(self.trainings.values()))
        wanted = {*self.state.curves, name} if shown else {*self.state.curves} - {name}
        self.state.curves = tuple(each for each in known if each in wanted)

    @shown_errors
    def refresh(self) -> None:
        """Look at the store again; what is chosen stays chosen, and a training that has come to its end too."""
        before, self.seen = self.trainings, signature()
        self.trainings = find_trainings(self.runs, {key: each for key, each in before.items() if each.done})
        ended = {key.rpartition("-")[2] for key in self.state.chosen if key not in self.trainings}
        kept = [key for key in self.trainings if key in self.state.chosen or key.rpartition("-")[2] in ended]
        self._list(kept or shown_first(self.trainings))

    def look(self) -> bool:
        """Refresh where the store has changed since; return whether it had."""
        changed = signature() != self.seen
        if changed:
            self.refresh()
        return changed

    def _list(self, wanted: Iterable[str]) -> None:
        """Write the lists of trainings and curves, choose, and draw."""
        options = [(_line(each), key) for key, each in self.trainings.items()]
        chosen = tuple(key for key in self.trainings if key in set(wanted))[:MOST]
        self._listing = True  # another list empties the choice, which nobody has asked for
        self.choice.options, self.choice.value = options, chosen
        self._listing = False
        known = curves_of(list(self.trainings.values()))
        if [box.name for box in self.boxes.children] != list(known):
            for box in self.boxes.children:
                box.close()
            self.boxes.children = [self._box(name, curve[0]) for name, curve in known.items()]
        if self.state.chosen == chosen:
            self._draw()
        self.state.chosen = chosen

    def _box(self, name: str, words: str) -> ipywidgets.Checkbox:
        box = ipywidgets.Checkbox(value=name in self.state.curves, description=words, indent=False)
        box.layout.width, box.name = "auto", name
        box.observe(lambda change: self.show_curve(name, change["new"]), "value")
        return box

    @shown_errors
    def _draw(self, _: Any = None) -> None:
        self.choice.value = self.state.chosen
        self.slots = slots_of([key for key in self.state.chosen if key in self.trainings], self.slots)
        shown = {slot: self.trainings[key] for key, slot in self.slots.items()}
        curves = curves_of(list(self.trainings.values()))
        for name in self.state.curves if shown else ():
            drawing = self.drawings.setdefault(name, Drawing())
            drawing.show(curve_figure(shown, name, curves[name], smoothing=self.state.smoothing))
        self.figures.children = [self.drawings[name] for name in self.state.curves if shown]
        for name in [name for name in self.drawings if name not in self.state.curves]:
            self.drawings.pop(name).close()
        for box in self.boxes.children:
            box.value = box.name in self.state.curves
        self.table.value = training_table(shown) if shown else ""
        self.tell(self.summary())

    @shown_errors
    def _follow(self, _: Any = None) -> None:
        """Begin or end looking at the store every few seconds, on the loop that the kernel handles clicks on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.state.live:
            try:
                self._task = asyncio.get_running_loop().create_task(_keep_looking(weakref.ref(self)))
            except RuntimeError:  # no kernel, and nobody who looks on
                self._task = None

    def summary(self) -> str:
        """Return in a sentence what is shown."""
        if not self.trainings:
            return "There is no training yet: `reidlab run 03` trains a model."
        going = sum(not each.done for each in self.trainings.values())
        not_done = f", {going} of them not done" if going else ""
        smooth = f"; smoothed by {self.state.smoothing:g}" if self.state.smoothing else ""
        most = f" ({MOST} at most)" if len(self.state.chosen) == MOST else ""
        return f"{len(self.state.chosen)} of {len(self.trainings)} trainings are shown{most}{not_done}{smooth}."

    def twin(self) -> str:
        """Return the curves and the table that are shown as static HTML."""
        pictures = "".join(f"<div>{drawing.twin()}</div>" for drawing in self.figures.children)
        return f'{self.table.value}<div style="display:flex;flex-wrap:wrap;gap:6px">{pictures}</div>'

    def close(self) -> None:
        """Close all, and look at the store no longer."""
        if self._task is not None:
            self._task.cancel()
        super().close()


def _line(training: Training) -> str:
    best = training.best
    score = f", mAP {100 * best[0]:.1f} %" if best else ""
    return f"{training.name} ({training.epochs} epochs{score})"


async def _keep_looking(of: weakref.ref[TrainingExplorer]) -> None:
    """Let an explorer look at the store now and then, as long as somebody holds it."""
    while True:
        await asyncio.sleep(PERIOD)
        explorer = of()
        if explorer is None or explorer.closed:
            return
        explorer.look()
        del explorer
