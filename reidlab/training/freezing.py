"""Modules that learn nothing during the first epochs, so that new layers settle on a pretrained backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.training.recipes import FreezePart

__all__ = ["Freezing", "modules_named"]


def modules_named(model: nn.Module, names: Sequence[str], what: str) -> list[nn.Module]:
    """Find submodules by their dotted names.

    Raises:
        UserError: the model has no such module; `what` says which option asked for it.
    """
    found = dict(model.named_modules())
    del found[""]
    for name in names:
        if name not in found:
            known = ", ".join(child for child, _ in model.named_children())
            raise UserError(f"{what}: the model has no module {name!r}; it has {known}.{nearest(name, found)}")
    return [found[name] for name in names]


class Freezing:
    """Hold modules still: no gradients, and eval mode, so that their BN statistics and dropout rest too.

    What is frozen follows from the epoch alone, so that a resumed run needs no state. Parameters that the model itself
    keeps fixed stay so.

    Args:
        part: the recipe's, or None, which freezes nothing.
        model: whose modules.

    Raises:
        UserError: a module that the model lacks, or nothing left to train.
    """

    def __init__(self, part: FreezePart | None, model: nn.Module) -> None:
        self.epochs = part.epochs if part else 0
        self.modules = modules_named(model, part.modules, "freeze.modules") if part else []
        self.parameters = list({p: None for m in self.modules for p in m.parameters() if p.requires_grad})
        if part and len(self.parameters) == sum(p.requires_grad for p in model.parameters()):
            raise UserError(f"freeze.modules={', '.join(part.modules)} leaves nothing to train.")

    def holds(self, epoch: int) -> bool:
        """Return whether the modules are frozen in `epoch` (0 is the first)."""
        return epoch < self.epochs

    def begin(self, epoch: int) -> None:
        """Freeze or free the modules for `epoch`; call it after `model.train()`."""
        held = self.holds(epoch)
        for parameter in self.parameters:
            parameter.requires_grad_(not held)
        if held:
            for module in self.modules:
                module.eval()
