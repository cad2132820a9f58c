"""Model folders in nnInteractive's format, and the small network that the project's own folders hold.

A folder holds plans.json, dataset.json, inference_info.json, inference_session_class.json, LICENSE and
fold_0/checkpoint_final.pth. The names and values below are what nnInteractive 2.6 reads at load time.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interactivepet.core.artefact import Artefact
from interactivepet.errors import SegmenterError

if TYPE_CHECKING:
    import torch

__all__ = [
    "DECAY",
    "MINIMUM_PATCH",
    "NEGATIVE_CHANNEL",
    "N_INTERACTION_CHANNELS",
    "POINT_RADIUS",
    "POSITIVE_CHANNEL",
    "PREVIOUS_CHANNEL",
    "check_new",
    "make_small_network",
    "write_model_folder",
]

Triple = tuple[int, int, int]

POINT_RADIUS = 4
"""Voxels; a click is a ball that fades from 1 in its centre to its surface."""
DECAY = 0.98
"""Every click is this much weaker than the one after it."""
MINIMUM_PATCH = 49
"""nnInteractive leaves a margin of 24 voxels on each side of a refined patch: 48 or less covers nothing."""

N_INTERACTION_CHANNELS = 7
"""Beside the image, a network sees a previous mask and, by kind, positive and negative prompts."""
PREVIOUS_CHANNEL, POSITIVE_CHANNEL, NEGATIVE_CHANNEL = 0, 3, 4
"""Interaction channels of the previous mask and of clicks; boxes, lassos and scribbles have the others."""

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
_ARCHITECTURE: dict[str, object] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        **_SIZES,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": None,
        "dropout_op": None,
        "nonlin": "torch.nn.LeakyReLU",
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
"""The small network as plans.json spells it."""

_CONFIGURATION = "3d_fullres"
"""Name that ties the checkpoint to its part of plans.json."""
_INFERENCE_INFO: dict[str, object] = {
    "inference_class": "nnInteractiveInferenceSession",
    "inference_class_min_version": "2.0.0",
    # Trained with points alone, so nothing else is offered to the user interfaces.
    "supported_interactions": {
        "points": True,
        "scribble": False,
        "lasso": False,
        "bbox2d": False,
        "bbox3d": False,
    },
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": False,
    "interaction_channels": N_INTERACTION_CHANNELS - 1,
    "channel_mapping": {
        "prev_seg": PREVIOUS_CHANNEL,
        "bbox2d": [1, 2],
        "bbox3d": [1, 2],
        "lasso": [1, 2],
        "points": [POSITIVE_CHANNEL, NEGATIVE_CHANNEL],
        "scribble": [5, 6],
    },
    "point_radius": POINT_RADIUS,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": DECAY,
    "pad_mode_image": "constant",
}
"""What sessions and user interfaces may offer, and how prompts become channels."""
_SESSION_CLASS: dict[str, object] = {
    "inference_class": "nnInteractiveInferenceSession",
    "point_radius": POINT_RADIUS,
    "preferred_scribble_thickness": 2,
    "interaction_decay": DECAY,
    "pad_mode_image": "constant",
}
"""The older form of the same, which some user interfaces read to find the class."""


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
            input_channels=1 + N_INTERACTION_CHANNELS,
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


def write_model_folder(
    folder: Path,
    network: torch.nn.Module,
    *,
    licence: str,
    dataset_name: str,
    channel: str,
    architecture: Mapping[str, object] = _ARCHITECTURE,
    patch_size: Triple = _PATCH_SIZE,
    card: Artefact | None = None,
) -> None:
    """Write a folder that nnInteractive's session and server load unchanged.

    The folder appears complete or not at all: it is filled beside its place and renamed.

    Args:
        folder: must not exist yet.
        network: 8 input and 2 output channels, such as `make_small_network` gives.
        licence: short identifier of the weights' licence, on one line.
        dataset_name: what the weights were trained on, in nnU-Net's form `DatasetNNN_Name`.
        channel: name of the one image channel, such as `PET`.
        architecture: how plans.json spells the network; that of the small network unless given.
        patch_size: voxels that the network sees at once, at least `MINIMUM_PATCH` along each axis.
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
        "inference_info.json": _to_json(_INFERENCE_INFO),
        "inference_session_class.json": _to_json(_SESSION_CLASS),
        "LICENSE": f"{licence}\n".encode(),
        "fold_0/checkpoint_final.pth": _to_checkpoint(network),
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


def _to_checkpoint(network: torch.nn.Module) -> bytes:
    """Give the content of checkpoint_final.pth, as far as nnInteractive reads it."""
    import torch

    checkpoint = {
        # Any other name makes nnInteractive import every trainer of nnU-Net in search of it.
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": _CONFIGURATION},
        "network_weights": network.state_dict(),
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


def _to_json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, indent=2).encode()


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Fill a folder beside `folder`, flush it to the disk and rename it."""
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    for name, content in files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    partial.rename(folder)
