"""Which tensors a model's embeddings pass through, and whether they were all loaded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reidlab.errors import UserError

__all__ = ["check_loaded", "embedding_tensors"]

_SHOWN = 6


def embedding_tensors(model: nn.Module) -> list[str]:
    """Name the tensors of a model's state that change its embeddings, in the state's order.

    One image passes the model in eval mode, and what each operation takes in is followed to what it gives. Classifiers,
    counters of batch norms, and branches that only training looks at are not among them; whole numbers are not either,
    for no such tensor is random.

    Args:
        model: gives embeddings in eval mode and has `.preprocess`; left as it was.
    """
    state = model.state_dict(keep_vars=True)
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    preprocess: Any = model.preprocess
    device = next(iter(floats.values())).device if floats else torch.device("cpu")
    image = torch.zeros(1, 3, preprocess.height, preprocess.width, device=device)
    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), _Flow(floats) as flow:
            embedding = model.eval()(image)
    finally:
        for module, was in training.items():
            module.training = was
    reached = flow.sources(embedding)
    return [name for name in floats if name in reached]


def check_loaded(model: nn.Module, loaded: Collection[str], source: str) -> None:
    """Refuse a model whose embeddings pass through tensors that no file gave: they would be random.

    Args:
        model: as `embedding_tensors` takes it.
        loaded: names of the model's tensors that were loaded.
        source: names the file.

    Raises:
        UserError: naming the tensors.
    """
    known = set(loaded)
    lacking = [name for name in embedding_tensors(model) if name not in known]
    if lacking:
        shown = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
        raise UserError(
            f"{source} lacks {len(lacking)} tensors that embeddings pass through (or has them in another shape): "
            f"{shown}. They would be random, so nothing is scored or exported. Give a file of the whole network, or "
            "name the file as `weights` of a recipe's model and train what is new."
        )


class _Flow(TorchDispatchMode):
    """Follow tensors by their memory through all operations; views and what is written in place share it."""

    def __init__(self, named: dict[str, Tensor]) -> None:
        super().__init__()
        self._from: dict[int, set[str]] = {}
        self._kept: list[Any] = []  # memory that is given back could come again under the same number
        for name, tensor in named.items():
            self._from.setdefault(self._key(tensor), set()).add(name)

    def _key(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        self._kept.append(storage)
        return int(storage._cdata)

    def sources(self, *values: Any) -> set[str]:
        """Return the names whose tensors flow into any of the values."""
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return set().union(*(self._from.get(self._key(tensor), ()) for tensor in tensors))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        inputs = self.sources(args, kwargs)
        aliases = [spec.alias_info for spec in func._schema.arguments]
        written = [arg for arg, alias in zip(args, aliases) if alias is not None and alias.is_write]
        for leaf in tree_leaves((found, written)):
            if inputs and isinstance(leaf, Tensor):
                self._from.setdefault(self._key(leaf), set()).update(inputs)
        return found
