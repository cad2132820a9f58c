"""A trained model in memory: images and clicks in, masks out. Commands and the Python API go through it alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plans
from interactivepet.core.prediction import Prediction, Segmentation
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.model.description import ImageInputs
from interactivepet.pipeline.predict.intensities import check_intensities
from interactivepet.pipeline.predict.models import Models, PredictionOptions, open_models
from interactivepet.pipeline.predict.requests import check_case, find_images, read_inputs
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.session.segmenter import EnsembleSegmenter, make_segmentation
from interactivepet.session.session import Session

__all__ = ["Model", "open_trained_model"]


class Model:
    """Trained folds and the choice from cross-validation, loaded once for any number of images.

    `interactivepet.load_model` opens the model of a file, a folder or a name. Not to be shared between threads.

    Attributes:
        models: the networks, the rules, and nnInteractive where it takes part.
    """

    def __init__(
        self,
        source: PredictionSource,
        models: Models,
        *,
        any_intensity: bool = False,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Join what was loaded; `open_trained_model` does so.

        Args:
            source: a task or a model, which says what images must be.
            models: of that source.
            any_intensity: predict an image that seems to be in another unit than the training cases.
            close: releases what the models hold.
        """
        self._source = source
        self.models = models
        self._any_intensity = any_intensity
        self._close = close

    @property
    def task(self) -> str:
        """The task that it was trained on."""
        return self._source.task

    @property
    def plans(self) -> Plans:
        """What it was trained by."""
        return self.models.plans

    @property
    def inputs(self) -> ImageInputs:
        """What images must be; a task's SUV is not known before images are read."""
        return read_inputs(self._source)

    @property
    def channels(self) -> tuple[str, ...]:
        """What an image's channels must be, in order."""
        return self.plans.channels

    @property
    def labels(self) -> Mapping[str, int]:
        """Names and values of what masks and clicks can hold."""
        return self.plans.labels

    @property
    def description(self) -> str:
        """Names and licences of the networks that take part."""
        return self.models.description

    def read(self, image: str | Path | Case, *, reading: DicomReading | None = None) -> Case:
        """Read an image as the model needs it, and check it.

        Args:
            image: a file, of several channels `CASE_0000.nii.gz` with the others beside it; or a folder with one
                case, such as a DICOM series, which is converted to the SUV that the model was trained on. Or a case
                in memory, which is given back as it is.
            reading: which DICOM series or frame of a dynamic image to take.

        Raises:
            CaseError: the image is not there, or cannot be what the model was trained on.
            ManifestError: there are several images.
        """
        if not isinstance(image, Case):
            image = find_images(self._source, Path(image), reading=reading).load_single(channels=self.channels)
        check_case(image, self.channels)
        return image

    def predict(self, image: str | Path | Case, clicks: Sequence[Click] = ()) -> Segmentation:
        """Segment an image.

        Without clicks the whole image is predicted. With clicks the answer is that of a session in which all of them
        were placed before the first mask.

        Args:
            image: as of `read`.
            clicks: in RAS+ mm, oldest first.

        Returns:
            The mask (I, J, K) on the image's own grid, in which every click holds but the `unmet` ones.

        Raises:
            CaseError: the image cannot be read, or cannot be what the model was trained on.
            InteractionError: a click lies outside of the image or has an unknown label, or there is none and the plan
                crops to clicks.
            ManifestError: there are several images.
            SegmenterError: nnInteractive failed.
        """
        if not clicks:
            return self.predict_whole(image)[1]
        with self.open_session(image) as session:
            session.add_clicks(clicks)
            return session.segment()

    def predict_whole(self, image: str | Path | Case, clicks: Sequence[Click] = ()) -> tuple[Prediction, Segmentation]:
        """Segment the whole of an image with all of its clicks at once, as cross-validation does.

        Returns:
            The probabilities (1 + L, I, J, K), background first, and the mask; arguments and errors as of `predict`.
        """
        case = self.read(image)
        self._check(case)
        prediction = EnsembleSegmenter(self.models).segment(case, clicks)
        fusion, postprocessing = self.models.choice(clicks)
        return prediction, make_segmentation(case, prediction, clicks, fusion=fusion, postprocessing=postprocessing)

    def open_session(self, image: str | Path | Case, *, fast: bool = False) -> Session:
        """Open an image for clicks that come one after the other.

        Args:
            image: as of `read`.
            fast: use fewer folds and no mirrored inputs.

        Returns:
            A session that holds the image. In a `with` statement it forgets image and results at the end.

        Raises:
            CaseError: as `predict`.
            ManifestError: as `predict`.
        """
        case = self.read(image)
        session = Session(self.models, fast=fast, check=self._check)
        session.set_image(case)
        return session

    def close(self) -> None:
        """Release nnInteractive's session, if there is one."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _check(self, case: Case) -> None:
        check_intensities(case, self.models, any_intensity=self._any_intensity)


def open_trained_model(
    source: PredictionSource, options: PredictionOptions, *, with_corrections: bool = False
) -> Model:
    """Load the folds of a task or of a model; use it in a `with` statement where nnInteractive takes part.

    Args:
        source: a task with at least one trained fold, or a model.
        options: folds, mirrored inputs, device, threads and nnInteractive.
        with_corrections: masks will be corrected, so that a share of nnInteractive in the rule for that counts.

    Raises:
        MissingArtefactError: no fold is trained.
        StaleArtefactError: plan, split, folds and choice do not belong together.
        ModelError: the model is damaged, or lacks a fold.
    """
    import torch

    torch.set_num_threads(options.n_threads)
    with ExitStack() as stack:
        models = stack.enter_context(open_models(source, options, with_corrections=with_corrections))
        return Model(source, models, any_intensity=options.any_intensity, close=stack.pop_all().close)
