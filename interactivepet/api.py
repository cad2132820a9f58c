"""What a program calls: `import interactivepet` offers these functions and types, and loads them when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from interactivepet.core.case import Case
from interactivepet.errors import ModelError, SettingsError
from interactivepet.settings import MachineSettings, count_processors, load_machine_settings, load_settings

if TYPE_CHECKING:
    from interactivepet.core.classical import ClassicalMethod
    from interactivepet.core.region import RegionMethod
    from interactivepet.model.description import ImageInputs
    from interactivepet.pipeline.predict.model import Model
    from interactivepet.pipeline.segment.options import SegmentOptions
    from interactivepet.pipeline.segment.result import SegmentedImage
    from interactivepet.pipeline.segment.segmenters import RegionSegmenter

__all__ = ["load_model", "locate_model", "read_image", "segment_regions"]


def load_model(
    name_or_path: str | Path,
    *,
    folds: Sequence[int] = (),
    device: str | None = None,
    threads: int | None = None,
    tta: bool = True,
) -> Model:
    """Load a model; no folder of tasks is needed.

    Args:
        name_or_path: the zip file of `interactivepet_export_model`, its extracted folder, the name of an installed
            model, or a model that MLflow has registered, `models:/NAME/VERSION`.
        folds: which to average; all of the model when empty.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; None takes `interactivepet_device`, else `auto`.
        threads: of torch, in the whole process; None takes `interactivepet_n_threads`, else all processors.
        tta: average over mirrored inputs.

    Returns:
        The model, in memory; the file is not needed any more. A promptable model in it takes part where the choice from
        cross-validation gave it a share; `close`, or a `with` statement, releases it.

    Raises:
        ModelError: there is no such model, it is damaged or hostile, or lacks a fold.
        SettingsError: an environment variable is invalid.
    """
    from interactivepet.model.folder import open_model
    from interactivepet.pipeline.predict.model import open_trained_model
    from interactivepet.pipeline.predict.models import PredictionOptions

    settings = load_machine_settings()
    options = PredictionOptions(
        folds=tuple(folds),
        tta=tta,
        device=device or settings.device,
        n_threads=threads or settings.n_threads or count_processors(),
    )
    with locate_model(str(name_or_path), settings) as path, open_model(path) as opened:
        return open_trained_model(opened, options, with_corrections=True)


def read_image(path: str | Path, *, channels: Sequence[str] = ("PET",)) -> Case:
    """Read an image without a model. `Model.predict` takes the path itself, and reads what the model needs.

    Args:
        path: a file, of several channels `CASE_0000.nii.gz` with the others beside it; or a folder with one case,
            such as a DICOM series, which is converted to SUV by body weight.
        channels: names in order. `PET` and `CT` are read from DICOM, and their units are checked.

    Returns:
        Image (C, I, J, K) float32 in the units of the files, or SUV and HU from DICOM, and its grid.

    Raises:
        CaseError: the image is not there, cannot be read, or has other channels.
        ManifestError: there are several images.
    """
    from interactivepet.model.description import ImageInputs
    from interactivepet.pipeline.predict.requests import check_case, find_images

    names = tuple(channels)
    inputs = ImageInputs(channels=names, is_by_channel=len(names) > 1, is_picture=True, suv="bw")
    case = find_images(inputs, Path(path)).load_single(channels=names)
    check_case(case, names)
    return case


def segment_regions(
    source: str | Path | Case,
    *,
    model: str | Path | Model = "starter",
    segmenter: ClassicalMethod | None = None,
    regions: RegionMethod = "percentile",
    percentile: float = 90.0,
    suv: float = 2.5,
    reference_sphere: tuple[float, float, float] | None = None,
    min_volume_ml: float = 0.3,
    max_regions: int = 10,
    max_components: int = 3,
) -> SegmentedImage:
    """Find the bright regions of one image, segment those that are not normal uptake, and measure them.

    `interactivepet_segment` does the same for many images, with these options and defaults.

    Args:
        source: a file, a folder with one DICOM series, or a case in memory.
        model: a loaded model, or what `load_model` takes.
        segmenter: a method without training in place of the model.
        regions: where bright regions begin.
        percentile: of the body's voxels, for `percentile`.
        suv: for `suv`.
        reference_sphere: centre in RAS+ mm of a sphere of 3 cm in the liver, or the blood pool for `bloodpool`.
        min_volume_ml: smaller bright regions are only counted.
        max_regions: so many are segmented.
        max_components: parts of one region's mask that stay.

    Returns:
        The regions, of which normal uptake is listed and not segmented; `mask` has all lesions.

    Raises:
        CaseError: the image cannot be read or used, or the method needs a liver or blood pool that is not in it.
        ModelError: there is no such model.
        SettingsError: an option is invalid.
        SegmenterError: the segmenter failed.
    """
    from interactivepet.pipeline.predict.model import Model
    from interactivepet.pipeline.segment.options import make_options
    from interactivepet.pipeline.segment.segmenters import CLASSICAL_INPUTS, ClassicalRegions, ModelRegions

    options = make_options(
        regions=regions,
        percentile=percentile,
        suv=suv,
        reference_sphere=reference_sphere,
        min_volume_ml=min_volume_ml,
        max_regions=max_regions,
        max_components=max_components,
    )
    if segmenter is not None:
        return _segment(source, CLASSICAL_INPUTS, ClassicalRegions(segmenter), options=options)
    loaded = model if isinstance(model, Model) else load_model(model)
    return _segment(source, loaded.inputs, ModelRegions(loaded), options=options)


def _segment(
    source: str | Path | Case, inputs: ImageInputs, segmenter: RegionSegmenter, *, options: SegmentOptions
) -> SegmentedImage:
    from interactivepet.core.uptake import LARGEST_MEAN_SUV, UNITS, average_uptake
    from interactivepet.pipeline.predict.requests import check_case
    from interactivepet.pipeline.segment.jobs import load_image
    from interactivepet.pipeline.segment.regions import segment_image

    if isinstance(source, Case):
        check_case(source, inputs.channels)
        # as of files, values that can be SUV are taken for it
        known = average_uptake(source.image[0]) <= LARGEST_MEAN_SUV
        case, unit = source, UNITS[0] if known else UNITS[-1]
    else:
        case, unit = load_image(Path(source), inputs)
    return segment_image(case, segmenter, unit=unit, channels=inputs.channels, options=options)


@contextmanager
def locate_model(model: str, machine: MachineSettings) -> Iterator[Path]:
    """Find what `--model` names: a file, a folder, an installed model, or a registered one, fetched for the block.

    Raises:
        ModelError: there is none of these.
    """
    from interactivepet.model.installed import find_model
    from interactivepet.tracking.registry import fetch_model, is_registered

    if not is_registered(model):
        yield find_model(model, machine.models)
        return
    with TemporaryDirectory(prefix="interactivepet-model-") as folder:
        yield fetch_model(model, Path(folder), uri=_find_tracking_uri(model, machine))


def _find_tracking_uri(model: str, machine: MachineSettings) -> str:
    """Give the MLflow server of the settings, or else the embedded store of the tasks' results.

    Raises:
        ModelError: the settings name neither.
    """
    from interactivepet.tracking.mlflow import default_uri

    if machine.mlflow_tracking_uri is not None:
        return machine.mlflow_tracking_uri
    try:
        return default_uri(load_settings().results)
    except SettingsError as error:
        raise ModelError(
            f"{model}: no MLflow store is known; set MLFLOW_TRACKING_URI, or the three folders of tasks for the store "
            "in interactivepet_results"
        ) from error
