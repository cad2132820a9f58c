"""Rows of a table, each an image with perhaps clicks -> masks and volumes: what MLflow asks a registered model for."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from pydantic import TypeAdapter, ValidationError

from interactivepet.core.interaction import Click
from interactivepet.dataset.interactions import MOST_CLICKS
from interactivepet.errors import CaseError, InteractionError, InteractivePetError
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.predict.masks import save_mask
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.requests import FILE_ENDING, MASK_ENDINGS
from interactivepet.tracking.flavour import COLUMNS, MASK, name_volume

__all__ = ["ServedModel"]

_CLICKS: TypeAdapter[tuple[Click, ...]] = TypeAdapter(tuple[Click, ...])
_CLICKS_EXAMPLE = '[{"position_mm": [x, y, z], "label": 1, "is_positive": true}] in RAS+ mm'


@dataclass(frozen=True, slots=True)
class _Row:
    """One prediction.

    Attributes:
        image: a file; of several channels `CASE_0000.nii.gz`, the others beside it. Or a folder with one case, such
            as a DICOM series.
        clicks: in RAS+ mm.
        out: path of the mask; None writes it into a new folder for temporary files.
    """

    image: Path
    clicks: tuple[Click, ...]
    out: Path | None


class ServedModel:
    """A model in memory that predicts one request after the other, whatever thread asks."""

    def __init__(self, folder: Path, *, device: str, tta: bool) -> None:
        """Load a model.

        Args:
            folder: of the model.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            tta: average over mirrored inputs.

        Raises:
            ModelError: the model is damaged.
        """
        import torch

        options = PredictionOptions(device=device, tta=tta, n_threads=torch.get_num_threads())
        self._model = open_trained_model(open_folder(folder), options)
        self._lock = threading.Lock()

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """Predict images and write their masks; what rows say is checked before the first image is read.

        Args:
            rows: `image` is a path; `clicks` a JSON list of `Click`, and `out` the path of the mask, may be missing.

        Returns:
            Per row, `mask`: the path of the mask, and `volume_ml_LABEL` of every label.

        Raises:
            InteractivePetError: a row cannot be used; the message begins with its number, counted from 0.
        """
        parsed = [_parse_row(row, n) for n, row in enumerate(rows)]
        with self._lock:
            return [self._predict_row(row, n) for n, row in enumerate(parsed)]

    def _predict_row(self, row: _Row, number: int) -> dict[str, object]:
        out = row.out or Path(mkdtemp(prefix="interactivepet-mask-")) / f"mask{FILE_ENDING}"
        try:
            return self._predict(row, out)
        except InteractivePetError as error:
            if row.out is None:
                shutil.rmtree(out.parent)
            raise type(error)(f"row {number}: {error}") from error

    def _predict(self, row: _Row, out: Path) -> dict[str, object]:
        segmentation = self._model.predict(row.image, row.clicks)
        save_mask(segmentation, out)
        labels, unit = self._model.labels, segmentation.geometry.voxel_volume_ml
        counts = np.bincount(segmentation.mask.ravel(), minlength=max(labels.values()) + 1)
        volumes = {name_volume(name): float(counts[value]) * unit for name, value in labels.items()}
        return {MASK: str(out), **volumes}


def _parse_row(row: Mapping[str, object], number: int) -> _Row:
    """Read the columns of a row; an empty text or a missing value is none."""
    image, clicks, out = (_read_text(row.get(name), name, number) for name in COLUMNS)
    if image is None:
        raise CaseError(f"row {number}: image is empty; expected the path of an image")
    if out is not None and not out.lower().endswith(MASK_ENDINGS):
        raise CaseError(f"row {number}: out {out} has an unknown ending; expected one of {', '.join(MASK_ENDINGS)}")
    return _Row(Path(image), _parse_clicks(clicks, number), Path(out) if out is not None else None)


def _read_text(value: object, name: str, number: int) -> str | None:
    # a table holds NaN where a value is missing
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        raise CaseError(f"row {number}: {name} is {value!r}, expected a text")
    return value.strip() or None


def _parse_clicks(text: str | None, number: int) -> tuple[Click, ...]:
    if text is None:
        return ()
    try:
        clicks = _CLICKS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole text"
        raise InteractionError(
            f"row {number}: clicks, {place}: {first['msg']}; expected a JSON list such as {_CLICKS_EXAMPLE}"
        ) from error
    if len(clicks) > MOST_CLICKS:
        raise InteractionError(f"row {number}: {len(clicks)} clicks, expected at most {MOST_CLICKS}")
    return clicks
