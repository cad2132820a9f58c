from __future__ import annotations

import pytest

from interactivepet.core.dataset import CaseEntry, DatasetManifest


@pytest.mark.parametrize(
    ("images", "label", "files"),
    [
        (("a.nii.gz",), None, ("a.nii.gz",)),
        (("a.nii.gz",), "", ("a.nii.gz",)),
        (("a.nii.gz",), "l.nii.gz", ("a.nii.gz", "l.nii.gz")),
        (("a_0000.nii.gz", "a_0001.nii.gz"), "l.nii.gz", ("a_0000.nii.gz", "a_0001.nii.gz", "l.nii.gz")),
    ],
)
def test_the_files_of_a_case_are_images_and_label(
    images: tuple[str, ...], label: str | None, files: tuple[str, ...]
) -> None:
    assert CaseEntry(id="A", images=images, label=label).files == files


def test_label_values_rise() -> None:
    manifest = DatasetManifest(task="T", channels=("PET",), labels={"b": 2, "a": 1}, file_ending=".nii.gz", training=())
    assert manifest.label_values == (1, 2)
