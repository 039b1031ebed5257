"""Which networks timm has, and creating them so that they take images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from reidlab.errors import UserError

__all__ = ["create", "is_timm_name", "timm_names"]

# sizes of the images that networks are traced with, multiples of every usual stride: the last maps of the first are
# larger than the 1x1 of pooled gates, and the second is for networks that shrink images too much for it (Inception)
_PROBES = ((64, 64), (256, 256))


def is_timm_name(name: str) -> bool:
    """Return whether timm has a network of this name ("resnet50", also with a tag of weights: "resnet50.tv_in1k")."""
    import timm

    return timm.is_model(name.partition(".")[0])


def timm_names() -> list[str]:
    """Return the names of all networks of timm."""
    import timm

    return list(timm.list_models())


def create(
    name: str, image_size: Sequence[int] | None, drop_path_rate: float
) -> tuple[nn.Module, Sequence[tuple[int, int]]]:
    """Create a network with random weights and without pooling, for images of any size where it can take them.

    Args:
        name: timm's name.
        image_size: (height, width) of the position table of networks that have one; None: timm's own.
        drop_path_rate: share of residual branches dropped while training; 0 leaves the option out.

    Returns:
        The network, and (height, width) of images to trace it with: the next one is for those that refuse the first.

    Raises:
        UserError: the image size is not a pair of pixels, or timm cannot build the network like this.
    """
    import timm

    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise UserError(f"image_size={image_size!r} must be a height and a width in pixels, such as [256, 128].")
    config: Any = timm.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size  # ViT, Swin, and what can only be built for one size
    table = {} if image_size is None else {"img_size": tuple(image_size)}
    ways: list[dict[str, Any]] = (
        [{**table, "dynamic_img_size": True}, {"strict_img_size": False}, table] if fixed else [{}]
    )
    refused = ""
    for way in ways:
        options: dict[str, Any] = {**way, "drop_path_rate": drop_path_rate} if drop_path_rate else way
        try:
            network = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)
        except TypeError as error:  # an unknown option is refused before anything is built
            refused = str(error)
            continue
        except (AssertionError, ValueError) as error:
            raise UserError(f"timm's {name} cannot be built without its pooling ({error}).") from error
        if fixed and way is table:
            height, width = image_size or config.input_size[1:]
            return network, ((height, width),)
        patches: Any = getattr(network, "patch_embed", None)
        if hasattr(patches, "dynamic_img_pad"):
            patches.dynamic_img_pad = True  # sizes that are no whole patches
        return network, _PROBES
    asked = {"image_size": image_size, "drop_path_rate": drop_path_rate}
    offered = ", ".join(f"{option}={value}" for option, value in asked.items() if value)
    raise UserError(f"timm's {name} does not take {offered} ({refused}); leave it out or use another network.")
