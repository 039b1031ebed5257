"""Optimisers by name, and their parameter groups: own rates for new layers and biases, no decay of norms and biases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from reidlab.registry import OPTIMIZERS
from reidlab.training.freezing import modules_named
from reidlab.training.objective import Objective
from reidlab.training.recipes import OptimizerPart

__all__ = [
    "OPTIMIZERS",
    "adam",
    "adamw",
    "build_loss_optimizer",
    "build_optimizer",
    "describe_groups",
    "described",
    "set_rates",
    "sgd",
]


def sgd(groups: list[dict[str, Any]], part: OptimizerPart, fused: bool) -> torch.optim.Optimizer:
    """Return stochastic gradient descent with the options of a recipe."""
    return torch.optim.SGD(groups, lr=part.lr, momentum=part.momentum, nesterov=part.nesterov, fused=fused)


def adam(groups: list[dict[str, Any]], part: OptimizerPart, fused: bool) -> torch.optim.Optimizer:
    """Return Adam with the options of a recipe."""
    return torch.optim.Adam(groups, lr=part.lr, fused=fused)


def adamw(groups: list[dict[str, Any]], part: OptimizerPart, fused: bool) -> torch.optim.Optimizer:
    """Return AdamW with the options of a recipe."""
    return torch.optim.AdamW(groups, lr=part.lr, fused=fused)


def build_optimizer(part: OptimizerPart, model: nn.Module, objective: Objective | None = None) -> torch.optim.Optimizer:
    """Build the optimiser of a model's trainable parameters; every group remembers its base rate and has a name.

    Layers of losses that are trained with the model (feature_kd's) follow in groups of their own, as new layers.

    Raises:
        UserError: new_layers_factor is set, but the model has no module of the name that `backbone` gives.
    """
    fused = _can_fuse(model)  # one kernel over all parameters instead of ten operations for each
    groups = _groups(part, model)
    for label, parameters in objective.projectors if objective is not None else ():
        rate = part.lr * part.new_layers_factor
        about = {"weight_decay": part.weight_decay, "base_lr": rate, "name": f"{label} layer"}
        groups.append({"params": parameters, **about})
    optimizer: torch.optim.Optimizer = OPTIMIZERS.find(part.name).factory(groups, part, fused)
    return optimizer


def _can_fuse(model: nn.Module) -> bool:
    """Return whether torch has fused steps for the model's devices (all kernels since 2.4)."""
    return {p.device.type for p in model.parameters()} <= {"cpu", "cuda", "mps"}


def _groups(part: OptimizerPart, model: nn.Module) -> list[dict[str, Any]]:
    """Sort parameters by rate and decay, in the model's order inside a group (checkpoints count on it)."""
    split = part.new_layers_factor != 1
    old: set[nn.Parameter] = set()
    if split:
        backbone = modules_named(model, part.backbone, "optimizer.backbone")
        old = {p for module in backbone for p in module.parameters()}
    decays_all = part.name != "adamw" if part.decay_norms is None else part.decay_norms
    groups: dict[tuple[bool, float], tuple[set[tuple[int, str]], list[nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        new, bias, vector = split and parameter not in old, name.endswith("bias"), parameter.dim() <= 1
        kind = 2 if bias else 1 if vector else 0
        factor = (part.new_layers_factor if new else 1.0) * (part.bias_factor if bias else 1.0)
        plain = vector and not decays_all
        labels, members = groups.setdefault((plain, factor), (set(), []))
        place = ("new " if new else "backbone ") if split else ""
        labels.add((kind, place + ("kernels", "norms", "biases")[kind]))
        members.append(parameter)
    return [
        {
            "params": members,
            "weight_decay": 0.0 if plain else part.weight_decay,
            "base_lr": part.lr * factor,
            "name": ", ".join(label for _, label in sorted(labels)),
        }
        for (plain, factor), (labels, members) in sorted(groups.items(), key=lambda item: item[0])
    ]


def build_loss_optimizer(part: OptimizerPart, objective: Objective) -> torch.optim.Optimizer | None:
    """Build the optimiser of what losses and their balance learn: plain SGD, not scheduled; None if nothing does."""
    groups: list[dict[str, Any]] = [
        {"params": parameters, "name": label} for label, parameters in objective.own_parameters
    ]
    learned = list(objective.balance.parameters())
    if learned:
        groups.append({"params": learned, "name": "balance", "lr": objective.balance.lr})
    return torch.optim.SGD(groups, lr=part.loss_lr) if groups else None


def describe_groups(*optimizers: torch.optim.Optimizer | None) -> list[dict[str, Any]]:
    """Return name, tensors, parameters, base rate and weight decay of every parameter group."""
    return [
        {
            "group": group["name"],
            "tensors": len(group["params"]),
            "parameters": sum(p.numel() for p in group["params"]),
            "lr": group.get("base_lr", group["lr"]),
            "weight_decay": group["weight_decay"],
        }
        for optimizer in optimizers
        if optimizer is not None
        for group in optimizer.param_groups
    ]


def described(groups: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line per parameter group, from `describe_groups`."""
    line = "{group}: {tensors} tensors, {parameters:,} parameters, rate {lr:g}, decay {weight_decay:g}"
    return [line.format(**group) for group in groups]


def set_rates(groups: Iterable[dict[str, Any]], factor: float, momentum: float | None) -> None:
    """Set every group's rate to `factor` of its base rate, and its momentum (Adam: beta1) where one is given."""
    for group in groups:
        group["lr"] = group["base_lr"] * factor
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum
