"""The weights that training starts from: random ones that say background, or those of an nnInteractive model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from interactivepet.core.plan import UNetPlan
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptEncoding, StartingModel
from interactivepet.dataset.files.json_text import read_json
from interactivepet.errors import SegmenterError

__all__ = ["favour_background", "load_model_weights", "read_model_folder"]

ARCHITECTURES = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "residual"}
"""Networks of nnInteractive that can be trained on."""

CHECKPOINT = "checkpoint_final.pth"

CONFIDENCE = 2.0
"""Bias of the untrained network: with it the background's probability is 0.98."""

BARE_DECAY = 0.9
"""Of a model folder that says nothing else: nnInteractive's first."""


def favour_background(network: nn.Module) -> None:
    """Make an untrained network almost sure of background.

    One that flips voxels everywhere would drive nnInteractive's automatic zoom to hundreds of patches for a click.
    """
    with torch.no_grad():
        for head in network.decoder.seg_layers:  # type: ignore[union-attr]
            head.weight.mul_(0.1)
            head.bias.copy_(torch.tensor([CONFIDENCE, -CONFIDENCE]))


def load_model_weights(network: nn.Module, folder: Path) -> None:
    """Take all weights of a model folder; heads of deep supervision may be missing there.

    Raises:
        SegmenterError: the checkpoint cannot be read, or its weights are of another network.
    """
    path = _find_checkpoint(folder)
    weights = _read_tensors(path).get("network_weights", {})
    own = network.state_dict()
    missing = [name for name in own if name not in weights and ".seg_layers." not in name]
    strange = [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]
    if missing or strange:
        first = (missing or strange)[0]
        raise SegmenterError(f"{path}: {len(missing)} weights are missing and {len(strange)} do not fit ({first})")
    network.load_state_dict(weights, strict=False)


def read_model_folder(folder: Path) -> StartingModel:
    """Read a model folder's architecture, prompts and licence.

    Raises:
        SegmenterError: it is no model folder, or its network or prompts are of a kind that cannot be trained.
    """
    checkpoint = _find_checkpoint(folder)
    name = _read_tensors(checkpoint).get("init_args", {}).get("configuration", "")
    plans = _read_json(folder / "plans.json")
    try:
        configuration = plans["configurations"][name]
        network = _parse_network(configuration["architecture"])
        i, j, k = configuration["patch_size"]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise SegmenterError(
            f"{folder}/plans.json: configuration {name!r} is not a U-Net with instance normalisation ({error}); "
            "expected a PlainConvUNet or ResidualEncoderUNet"
        ) from error
    licence = folder / "LICENSE"
    return StartingModel(
        network,
        (i, j, k),
        _read_prompts(folder),
        licence.read_text(encoding="utf-8") if licence.is_file() else "unknown: the model folder has no LICENSE\n",
        hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    )


def _find_checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob(f"fold_*/{CHECKPOINT}"))
    if len(found) != 1:
        raise SegmenterError(f"{folder}: expected one fold_*/{CHECKPOINT}, found {len(found)}; name a model folder")
    return found[0]


def _read_tensors(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it; nnU-Net's hold numbers of numpy's besides tensors."""
    import pickle

    kinds: list[Callable[..., Any]] = [np.dtype, *{type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "bool")}]
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    names = [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    try:
        with torch.serialization.safe_globals([*kinds, *names]):
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same
        raise SegmenterError(
            f"{path} holds more than nnInteractive's own checkpoints, and loading that could run any program; download "
            "the model again"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise SegmenterError(f"{path} cannot be read as tensors ({error}); download the model again") from error
    return content


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise SegmenterError(f"{path} cannot be read ({error}); name a model folder of nnInteractive") from error


def _parse_network(architecture: Mapping[str, Any]) -> UNetPlan:
    """Read nnU-Net's description of a network; only what `networks.build` makes is accepted.

    Raises:
        KeyError: something is missing.
        ValueError: the network is of another kind.
    """
    given = architecture["arch_kwargs"]
    kind = ARCHITECTURES[str(architecture["network_class_name"]).rpartition(".")[2]]
    if not str(given["norm_op"]).endswith("InstanceNorm3d"):
        raise ValueError(f"norm_op is {given['norm_op']}")
    blocks = given["n_blocks_per_stage" if kind == "residual" else "n_conv_per_stage"]
    stages = int(given["n_stages"])
    return UNetPlan.model_validate(
        {
            "architecture": kind,
            "input_channels": 1 + N_PROMPT_CHANNELS,
            "output_channels": 2,
            "features_per_stage": given["features_per_stage"],
            "kernel_sizes": given["kernel_sizes"],
            "strides": given["strides"],
            "n_conv_per_stage": blocks if isinstance(blocks, list) else [blocks] * stages,
            "n_conv_per_stage_decoder": given["n_conv_per_stage_decoder"],
        }
    )


def _read_prompts(folder: Path) -> PromptEncoding:
    """Read radius and decay, from the newer description if there is one."""
    newer, older = folder / "inference_info.json", folder / "inference_session_class.json"
    path = newer if newer.is_file() else older
    content = _read_json(path)
    if isinstance(content, str):
        return PromptEncoding(decay=BARE_DECAY)
    try:
        return PromptEncoding(
            point_radius=content.get("point_radius", 4), decay=content.get("interaction_decay", BARE_DECAY)
        )
    except (AttributeError, ValidationError) as error:
        raise SegmenterError(f"{path} describes no prompts ({error}); name a model folder of nnInteractive") from error
