"""Model folders in nnInteractive's format, and the small network that the project's own folders hold.

A folder holds plans.json, dataset.json, inference_info.json, inference_session_class.json, LICENSE and
fold_0/checkpoint_final.pth. The names and values below are what nnInteractive 2.6 reads at load time.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.core.artefact import Artefact
from interactivepet.core.plan import UNetPlan
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptEncoding
from interactivepet.dataset.files.write import name_target
from interactivepet.errors import SegmenterError

if TYPE_CHECKING:
    import torch

__all__ = [
    "EVERY_PROMPT",
    "MINIMUM_PATCH",
    "NEGATIVE_CHANNEL",
    "POSITIVE_CHANNEL",
    "PREVIOUS_CHANNEL",
    "check_new",
    "describe_network",
    "make_small_network",
    "write_model_folder",
]

Triple = tuple[int, int, int]

MINIMUM_PATCH = 49
"""nnInteractive leaves a margin of 24 voxels on each side of a refined patch: 48 or less covers nothing."""

EVERY_PROMPT = ("points", "scribble", "lasso", "bbox2d", "bbox3d")
"""What user interfaces may offer."""

PREVIOUS_CHANNEL, POSITIVE_CHANNEL, NEGATIVE_CHANNEL = 0, 3, 4
"""Interaction channels of the previous mask and of clicks; boxes, lassos and scribbles have the others."""

_PROMPTS = PromptEncoding()
_PATCH_SIZE: Triple = (64, 64, 64)
"""Field of view of the small network."""
_SIZES: dict[str, object] = {
    "n_stages": 4,
    "features_per_stage": [8, 16, 32, 32],
    "kernel_sizes": [[3, 3, 3]] * 4,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [2, 2, 2, 2],
    "n_conv_per_stage_decoder": [1, 1, 1],
    "conv_bias": True,
    "nonlin_kwargs": {"inplace": True},
}
"""Of a plain U-Net without normalisation layers.

Instance normalisation would see other statistics in the session's patch than in the smaller crops of a short
training (measured: half of the Dice of small lesions is lost), and batch normalisation would go on learning,
since sessions leave a network in training mode.
"""
_IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]
"""Arguments of a network that plans.json gives as names."""
_ARCHITECTURE: dict[str, object] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        **_SIZES,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": None,
        "dropout_op": None,
        "nonlin": "torch.nn.LeakyReLU",
    },
    "_kw_requires_import": _IMPORTED,
}
"""The small network as plans.json spells it."""

_CONFIGURATION = "3d_fullres"
"""Name that ties the checkpoint to its part of plans.json."""
_CHANNEL_MAPPING: dict[str, object] = {
    "prev_seg": PREVIOUS_CHANNEL,
    "bbox2d": [1, 2],
    "bbox3d": [1, 2],
    "lasso": [1, 2],
    "points": [POSITIVE_CHANNEL, NEGATIVE_CHANNEL],
    "scribble": [5, 6],
}
"""Interaction channels of each kind of prompt, positive and negative; older sessions know no others."""
_SCRIBBLE_THICKNESS = 2


def make_small_network(*, seed: int) -> torch.nn.Module:
    """Make the untrained small network on the CPU: 8 input channels, 2 outputs, 0.2 million weights.

    Its last layer starts almost sure of background: a network that flips voxels everywhere would drive
    nnInteractive's automatic zoom to hundreds of patches for one click.
    """
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PlainConvUNet(
            input_channels=1 + N_PROMPT_CHANNELS,
            num_classes=2,
            conv_op=torch.nn.Conv3d,
            nonlin=torch.nn.LeakyReLU,
            **_SIZES,
        )
        network.apply(network.initialize)
    last = network.decoder.seg_layers[-1]
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(torch.tensor([2.0, -2.0]))
    return network  # type: ignore[no-any-return]


def describe_network(plan: UNetPlan) -> dict[str, object]:
    """Spell a network of `networks.build` as plans.json does."""
    is_residual = plan.architecture == "residual"
    blocks = list(plan.n_conv_per_stage)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + ("ResidualEncoderUNet" if is_residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": len(plan.features_per_stage),
            "features_per_stage": list(plan.features_per_stage),
            "kernel_sizes": [list(size) for size in plan.kernel_sizes],
            "strides": [list(stride) for stride in plan.strides],
            "n_blocks_per_stage" if is_residual else "n_conv_per_stage": blocks,
            "n_conv_per_stage_decoder": list(plan.n_conv_per_stage_decoder),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": _IMPORTED,
    }


def write_model_folder(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    *,
    licence: str,
    dataset_name: str,
    channel: str,
    architecture: Mapping[str, object] = _ARCHITECTURE,
    patch_size: Triple = _PATCH_SIZE,
    prompts: PromptEncoding = _PROMPTS,
    offered: Collection[str] = ("points",),
    card: Artefact | None = None,
) -> None:
    """Write a folder that nnInteractive's session and server load unchanged.

    The folder appears complete or not at all: it is filled beside its place and renamed.

    Args:
        folder: must not exist yet.
        weights: `state_dict` of a network with 8 input and 2 output channels, such as `make_small_network` gives.
        licence: text under which the weights may be used; sessions show its first line.
        dataset_name: what the weights were trained on, in nnU-Net's form `DatasetNNN_Name`.
        channel: name of the one image channel, such as `PET`.
        architecture: how plans.json spells the network; that of the small network unless given.
        patch_size: voxels that the network sees at once, at least `MINIMUM_PATCH` along each axis.
        prompts: how they become channels.
        offered: kinds of prompts that it was trained with, of `EVERY_PROMPT`.
        card: written as `card.json` when given; nnInteractive does not read it.

    Raises:
        SegmenterError: the folder exists, or the patch is too small.
    """
    check_new(folder)
    if min(patch_size) < MINIMUM_PATCH:
        raise SegmenterError(
            f"{folder}: patch {patch_size}; nnInteractive needs {MINIMUM_PATCH} or more along each axis"
        )
    files = {
        "plans.json": _to_json(_make_plans(dataset_name, architecture, patch_size)),
        "dataset.json": _to_json(_make_dataset(channel)),
        "inference_info.json": _to_json(_make_inference_info(prompts, offered)),
        "inference_session_class.json": _to_json(_make_session_class(prompts)),
        "LICENSE": f"{licence.strip()}\n".encode(),
        "fold_0/checkpoint_final.pth": _to_checkpoint(weights),
    }
    if card is not None:
        files["card.json"] = card.model_dump_json(indent=2).encode()
    _write_folder(folder, files)


def check_new(folder: Path) -> None:
    """Refuse a folder that exists.

    Raises:
        SegmenterError: it exists.
    """
    if folder.exists():
        raise SegmenterError(f"{folder}: exists already; delete it to make the model again")


def _to_checkpoint(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Give the content of checkpoint_final.pth, as far as nnInteractive reads it."""
    import torch

    checkpoint = {
        # Any other name makes nnInteractive import every trainer of nnU-Net in search of it.
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": _CONFIGURATION},
        "network_weights": dict(weights),
    }
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    return stream.getvalue()


def _make_plans(dataset_name: str, architecture: Mapping[str, object], patch_size: Triple) -> dict[str, object]:
    """Give plans.json; spacing and resampling are formal, since sessions work in voxels."""
    configuration = {
        "patch_size": list(patch_size),
        "batch_size": 2,
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": dict(architecture),
    }
    return {
        "dataset_name": dataset_name,
        "plans_name": "interactivepet",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {_CONFIGURATION: configuration},
    }


def _make_dataset(channel: str) -> dict[str, object]:
    """Give dataset.json: one channel, and a target that stands for whatever is clicked."""
    return {
        "channel_names": {"0": channel},
        "labels": {"background": 0, "target": 1},
        "numTraining": 0,
        "file_ending": ".nii.gz",
    }


def _make_inference_info(prompts: PromptEncoding, offered: Collection[str]) -> dict[str, object]:
    """Give what sessions and user interfaces may offer, and how prompts become channels."""
    return {
        "inference_class": "nnInteractiveInferenceSession",
        "inference_class_min_version": "2.0.0",
        "supported_interactions": {kind: kind in offered for kind in EVERY_PROMPT},
        "supports_initial_label": True,
        "supports_zero_shot_label_refinement": False,
        "interaction_channels": N_PROMPT_CHANNELS - 1,
        "channel_mapping": _CHANNEL_MAPPING,
        "point_radius": prompts.point_radius,
        "preferred_scribble_thickness": [_SCRIBBLE_THICKNESS] * 3,
        "interaction_decay": prompts.decay,
        "pad_mode_image": "constant",
    }


def _make_session_class(prompts: PromptEncoding) -> dict[str, object]:
    """Give the older form of the same, which some user interfaces read to find the class."""
    return {
        "inference_class": "nnInteractiveInferenceSession",
        "point_radius": prompts.point_radius,
        "preferred_scribble_thickness": _SCRIBBLE_THICKNESS,
        "interaction_decay": prompts.decay,
        "pad_mode_image": "constant",
    }


def _to_json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, indent=2).encode()


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Fill a folder beside `folder`, flush it to the disk and rename it."""
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        for name, content in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with name_target(path, folder / name), path.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
