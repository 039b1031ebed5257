"""What notebook 05 chooses by name: methods of attention maps."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["MAPS"]

_EXPLAIN = "reidlab.explain"


def _cam(name: str, kind: str, description: str) -> Entry:
    return Entry(name, f"{_EXPLAIN}.cams:Cam", description, {"kind": kind})


MAPS = Registry(
    "method of maps",
    "maps",
    [
        Entry("activation", f"{_EXPLAIN}.activation:Activation", "how strong the features of a layer are"),
        Entry("cbam_spatial", f"{_EXPLAIN}.gates:SpatialGates", "the spatial gate of a CBAM block (Woo et al. 2018)"),
        Entry(
            "cbam_channel",
            f"{_EXPLAIN}.gates:ChannelGates",
            "where the channels are strong that a CBAM block lets pass",
            {"kind": "cbam"},
        ),
        Entry(
            "squeeze_excite",
            f"{_EXPLAIN}.gates:ChannelGates",
            "the same for squeeze-and-excitation and other gates of channels (Hu et al. 2018)",
            {"kind": "squeeze_excite"},
        ),
        Entry(
            "position_attention",
            f"{_EXPLAIN}.gates:PositionMaps",
            "how much other positions take from each, by position attention or global context",
        ),
        _cam("gradcam", "GradCAM", "features weighted by their mean slope (Selvaraju et al. 2017)"),
        _cam("gradcam_pp", "GradCAMPlusPlus", "Grad-CAM++: slopes weighted by location (Chattopadhay et al. 2018)"),
        _cam("hirescam", "HiResCAM", "features times slopes, location by location (Draelos and Carin 2020)"),
        _cam("layercam", "LayerCAM", "features times positive slopes, for earlier layers too (Jiang et al. 2021)"),
        _cam("xgradcam", "XGradCAM", "slopes weighted by the share of the activation (Fu et al. 2020)"),
        _cam("eigencam", "EigenCAM", "first principal component of the features, no target (Muhammad and Yeasin 2020)"),
        _cam("eigengradcam", "EigenGradCAM", "first principal component of features times slopes"),
        Entry(
            "occlusion",
            f"{_EXPLAIN}.occlusion:Occlusion",
            "what the cosine loses where the image is covered, for every model (Zeiler and Fergus 2014)",
        ),
        Entry("rollout", f"{_EXPLAIN}.rollout:Rollout", "attention followed through a ViT (Abnar and Zuidema 2020)"),
        Entry(
            "part_stripes", f"{_EXPLAIN}.parts:Parts", "how strongly each horizontal stripe of a part model responds"
        ),
    ],
)
