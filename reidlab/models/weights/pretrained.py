"""Pretrained weights that timm knows by name, downloaded once into the hub's cache."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidlab.errors import UserError, nearest

__all__ = ["TimmWeights", "choose_weights", "download"]

_FILES = ("model.safetensors", "pytorch_model.bin")
_SECONDS = 10.0


@dataclass(frozen=True)
class TimmWeights:
    """Weights by timm's name ("resnet50.tv_in1k"), with the mean and standard deviation of RGB of their training."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def choose_weights(backbone: str, network: str, default: str, wanted: str, elsewhere: str = "") -> TimmWeights:
    """Find the weights that are meant.

    Args:
        backbone: name of the backbone, for errors.
        network: its name in timm, "" if timm does not have it.
        default: what "pretrained" stands for; "" is timm's own choice.
        wanted: "pretrained", a tag ("tv_in1k") or a whole name ("resnet50.tv_in1k").
        elsewhere: where else weights are available, for errors.

    Raises:
        UserError: there are no such weights.
    """
    import timm

    known = timm.list_pretrained(f"{network}.*") if network else []
    by_tag = {name.partition(".")[2]: name for name in known}
    name = (default or next(iter(_preferred(network)), "")) if wanted == "pretrained" else by_tag.get(wanted, wanted)
    if name not in known:
        if not known:
            advice = elsewhere or "give a file (.pth, .pt, .safetensors)."
            raise UserError(f"weights={wanted!r}: timm has no weights for {backbone}; {advice}")
        choices = ["pretrained", *by_tag]
        hint = nearest(wanted, [*choices, *known])
        raise UserError(
            f"weights={wanted!r} is not a file (.pth, .pt, .safetensors), and timm has no such weights for {backbone}; "
            f"it has {', '.join(choices)}.{hint}"
        )
    config: Any = timm.get_pretrained_cfg(name)
    return TimmWeights(name, tuple(config.mean), tuple(config.std))


def _preferred(network: str) -> list[str]:
    import timm

    config = timm.get_pretrained_cfg(network) if network else None
    return [f"{network}.{config.tag}"] if config is not None and config.tag else []


def download(name: str) -> Path:
    """Return the file of timm's weights `name`, from the hub's cache if it is there, else downloaded.

    Raises:
        UserError: there is no network (said within seconds), or the download fails.
    """
    import timm
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        where = f" Download {config.url} and give its path as weights." if config is not None and config.url else ""
        raise UserError(f"weights {name!r} are not on the hub that timm downloads from.{where}")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
    for file in files:
        try:
            return Path(hf_hub_download(config.hf_hub_id, file, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    _check_network(constants.ENDPOINT, name, config.hf_hub_id)
    for file in files:
        try:
            return Path(hf_hub_download(config.hf_hub_id, file))
        except EntryNotFoundError:  # older weights are no safetensors
            continue
        except Exception as error:  # the hub's client raises its own, httpx's and the system's errors
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"weights {name!r} could not be downloaded ({reason}). {_remedy(config.hf_hub_id)}"
            ) from error
    raise UserError(f"{config.hf_hub_id} on the hub has none of {', '.join(files)}. {_remedy(config.hf_hub_id)}")


def _check_network(endpoint: str, name: str, repository: str) -> None:
    """Fail within seconds where there is no network: the hub's client would try for minutes."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"weights {name!r} need a download, and {endpoint} cannot be reached ({reason}). {_remedy(repository)}"
        ) from error


def _remedy(repository: str) -> str:
    return (
        f"Where there is a network, download model.safetensors of {repository} and give its path as weights (in a "
        "recipe of your own: `base:` with the recipe's name, and `model: {weights: PATH}`), or copy that machine's hub "
        "cache; weights '' starts from random ones."
    )
