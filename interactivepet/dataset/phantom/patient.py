"""Digital PET patients with lesions: a task for the demo and for tests that needs no data.

A scan reaches from below the bladder to the middle of the brain, arms up. Uptake is painted at half the
voxel size, blurred as a scanner blurs it, and given the noise of an acquisition with limited counts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.dataset import IssueList
from interactivepet.core.geometry import Geometry, Shape, Spacing, to_triple
from interactivepet.dataset.files.write import write_image, write_mask
from interactivepet.dataset.phantom.anatomy import Anatomy, FloatArray, paint, sample_anatomy
from interactivepet.dataset.phantom.scan import blur, count
from interactivepet.dataset.phantom.tumour import (
    HOT_DISTANCE_MM,
    Tumour,
    choose_centre,
    measure_room,
    measure_tumour,
    sample_tumour,
)
from interactivepet.errors import VerificationError

__all__ = ["LARGEST_ML", "SMALLEST_ML", "SPACING_MM", "make_patient", "refuse_issues", "write_task"]

SPACING_MM: Spacing = (5.47, 5.47, 6.54)
"""A 128 x 128 matrix over 70 cm, two planes of 3.27 mm in one: coarse, but a clinical grid."""

SMALLEST_ML = 0.5
LARGEST_ML = 60.0
"""From what PET just resolves to a bulky mass; volumes are log-uniform in between."""

INDEX_ML = 6.0
"""The first lesion of a patient, the one that led to the scan, is at least this large."""

LEAST_CONTRAST = 2.0
"""A lesion takes up at least this many times as much as the organ around it."""

MARGIN_MM = 20.0
"""Air left around the patient."""

SUBDIVISION = 2
"""Uptake is painted on voxels of 1 / SUBDIVISION of the edge."""

POST_FILTER_MM = 4.0
"""FWHM of the filter after reconstruction; it gives the noise its grain."""

Axes = tuple[FloatArray, FloatArray, FloatArray]


def make_patient(
    rng: np.random.Generator,
    *,
    spacing_mm: Spacing = SPACING_MM,
    n_lesions: tuple[int, int] = (1, 4),
    lesion_free_share: float = 0.0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], Geometry]:
    """Make a patient and scan him or her.

    Args:
        rng: random numbers; the same state makes the same patient.
        spacing_mm: voxel spacing along (i, j, k).
        n_lesions: fewest and most lesions of a patient who has any.
        lesion_free_share: share of the patients without a lesion, from 0 to 1.

    Returns:
        The image (1, I, J, K) float32 in SUV, the label (I, J, K) uint8 that is 1 where lesions fill at
        least half of a voxel, and the grid: i runs to the patient's left, j to posterior, k to superior.
    """
    anatomy = sample_anatomy(rng)
    shape = _choose_shape(anatomy, spacing_mm)
    coarse = _make_axes(anatomy, shape, spacing_mm)
    fine_shape = (shape[0] * SUBDIVISION, shape[1] * SUBDIVISION, shape[2] * SUBDIVISION)
    fine_mm = (spacing_mm[0] / SUBDIVISION, spacing_mm[1] / SUBDIVISION, spacing_mm[2] / SUBDIVISION)
    fine = _make_axes(anatomy, fine_shape, fine_mm)
    activity = paint(anatomy, *fine)
    lesions = np.zeros(fine_shape, dtype=np.float32)
    n = 0 if rng.random() < lesion_free_share else int(rng.integers(n_lesions[0], n_lesions[1] + 1))
    for tumour, centre in _place_tumours(_average(activity), coarse, n=n, spacing_mm=spacing_mm, rng=rng):
        box, share, suv = measure_tumour(tumour, centre, axes_mm=fine)
        activity[box] = np.where(share < 1, suv, activity[box])
        lesions[box] = np.maximum(lesions[box], share < 1)
    image = _scan(activity, fine_mm=fine_mm, spacing_mm=spacing_mm, rng=rng)
    label = (_average(lesions) >= 0.5).astype(np.uint8)
    return image[None], label, Geometry(shape, _make_affine(coarse, spacing_mm, rng=rng))


def write_task(
    folder: Path,
    *,
    n_training: int,
    n_test: int,
    seed: int,
    n_lesions: tuple[int, int] = (1, 4),
    lesion_free_share: float = 0.0,
) -> None:
    """Write a Decathlon task of digital patients, without its `dataset.json`.

    Each case has random numbers of its own: a larger task begins with the cases of a smaller one, and
    writing again, after an interruption or not, gives the same files.

    Args:
        folder: the task's folder; `imagesTr`, `labelsTr`, `imagesTs` and `labelsTs` are written into it.
        n_training: number of training cases.
        n_test: number of test cases.
        seed: seed of the task.
        n_lesions: fewest and most lesions of a patient who has any.
        lesion_free_share: share of the patients without a lesion, from 0 to 1.
    """
    for part, suffix, n in ((0, "Tr", n_training), (1, "Ts", n_test)):
        for number in range(n):
            image_path = folder / f"images{suffix}" / f"PHANTOM_{suffix.upper()}_{number:03d}_0000.nii.gz"
            label_path = folder / f"labels{suffix}" / f"PHANTOM_{suffix.upper()}_{number:03d}.nii.gz"
            image, label, geometry = make_patient(
                np.random.default_rng((seed, part, number)),
                n_lesions=n_lesions,
                lesion_free_share=lesion_free_share,
            )
            write_image(image_path, image, geometry=geometry)
            write_mask(label_path, label, geometry=geometry)


def refuse_issues(issues: IssueList) -> None:
    """Refuse digital patients that verification finds a problem in.

    Raises:
        VerificationError: always.
    """
    raise VerificationError(f"the digital patients have problems, which is a defect of the phantom: {issues.issues[0]}")


def _choose_shape(anatomy: Anatomy, spacing_mm: Spacing) -> Shape:
    """Choose the voxels that cover the patient with a margin, in even numbers as scanners have them."""
    bottom, top = _find_field(anatomy)
    wide, deep = float(anatomy.half_widths_mm.max()), float(anatomy.half_depths_mm.max())
    lengths = (2 * (wide + MARGIN_MM), 2 * (deep + MARGIN_MM), top - bottom)
    return to_triple(2 * round(length / mm / 2) for length, mm in zip(lengths, spacing_mm, strict=True))


def _find_field(anatomy: Anatomy) -> tuple[float, float]:
    """Give the heights in mm where the scan begins and ends."""
    organs = {organ.name: organ for organ in anatomy.organs}
    bladder, brain = organs["bladder"], organs["brain"]
    return bladder.centre_mm[2] - bladder.radii_mm[2] - MARGIN_MM, brain.centre_mm[2]


def _make_axes(anatomy: Anatomy, shape: Shape, spacing_mm: Spacing) -> Axes:
    """Give the positions of voxel centres in the patient's frame; right and anterior fall along i and j."""
    bottom, _ = _find_field(anatomy)
    i, j, k = (
        (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(mm)
        for n, mm in zip(shape, spacing_mm, strict=True)
    )
    half_i, half_j = np.float32(shape[0] * spacing_mm[0] / 2), np.float32(shape[1] * spacing_mm[1] / 2)
    return half_i - i, half_j - j, k + np.float32(bottom)


def _place_tumours(
    activity: FloatArray, axes: Axes, *, n: int, spacing_mm: Spacing, rng: np.random.Generator
) -> list[tuple[Tumour, tuple[float, float, float]]]:
    """Draw `n` lesions and give each a place apart from the others, the largest first."""
    floors = [INDEX_ML, *[SMALLEST_ML] * (n - 1)][:n]
    volumes = sorted((float(np.exp(rng.uniform(np.log(a), np.log(LARGEST_ML)))) for a in floors), reverse=True)
    room = measure_room(activity, spacing_mm)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    placed = []
    for volume in volumes:
        tumour = sample_tumour(volume, rng=rng)
        i, j, k = choose_centre(room, tumour, axes_mm=axes, rng=rng)
        tumour = replace(tumour, suv=max(tumour.suv, LEAST_CONTRAST * float(activity[i, j, k])))
        cx, cy, cz = np.array([axes[0][i], axes[1][j], axes[2][k]]) + rng.uniform(-1.0, 1.0, 3)
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
        room = np.minimum(room, distance - tumour.reach_mm - HOT_DISTANCE_MM)
        placed.append((tumour, (float(cx), float(cy), float(cz))))
    return placed


def _scan(activity: FloatArray, *, fine_mm: Spacing, spacing_mm: Spacing, rng: np.random.Generator) -> FloatArray:
    """Blur fine uptake with the scanner's resolution, count, and filter: FWHM 5 to 7 mm in all."""
    fwhm_mm = rng.uniform(5.0, 7.0)
    scanner_mm = (fwhm_mm**2 - POST_FILTER_MM**2) ** 0.5
    blurred = blur(activity, scanner_mm, spacing_mm=fine_mm)
    # About 60 to 150 counts in a voxel of liver: 8 to 13 % of noise before the filter.
    return count(
        _average(blurred),
        counts_per_suv=rng.uniform(30.0, 75.0),
        filter_mm=POST_FILTER_MM,
        spacing_mm=spacing_mm,
        rng=rng,
    )


def _average(fine: FloatArray) -> FloatArray:
    """Average blocks of SUBDIVISION voxels along each axis."""
    i, j, k = (n // SUBDIVISION for n in fine.shape)
    blocks = fine.reshape(i, SUBDIVISION, j, SUBDIVISION, k, SUBDIVISION)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32), dtype=np.float32)


def _make_affine(axes: Axes, spacing_mm: Spacing, *, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Give voxel -> RAS+ mm with the patient somewhere on the table, as scanners write it."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    table_mm = np.round(rng.uniform([-25.0, -60.0, -1100.0], [25.0, 20.0, -500.0]), 2)
    affine[:3, 3] = np.array([axis[0] for axis in axes]) + table_mm
    return affine
