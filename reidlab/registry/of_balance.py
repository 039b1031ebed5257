"""Balances of several losses by name."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["BALANCES"]

_HOME = "reidlab.training.balancing"

BALANCES = Registry(
    "balance",
    "balances",
    [
        Entry("fixed", f"{_HOME}:FixedWeights", "the weights that the recipe gives its losses"),
        Entry("uncertainty", f"{_HOME}:UncertaintyWeights", "a variance per loss, learned (Kendall et al. 2018)"),
        Entry("gradnorm", f"{_HOME}:GradNorm", "weights under which all losses learn at one pace (Chen et al. 2018)"),
        Entry("pcgrad", f"{_HOME}:PCGrad", "gradients lose what points against another's (Yu et al. 2020)"),
    ],
    given=("terms",),
)
