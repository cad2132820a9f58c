"""nnInteractive as a segmenter: a local model folder, or a running `nninteractive-server`.

The model sees one image channel, in voxels, without its spacing: one of the case's channels is passed on in
the order of the case's voxel axes. `ordered.OrderedSegmenter` brings these into the order of the training cases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.core.prediction import Prediction
from interactivepet.errors import InteractionError, SegmenterError
from interactivepet.nninteractive.failures import ANSWER_S, is_timeout, named_failures, quiet, tell_wait

__all__ = ["NnInteractiveSegmenter", "open_segmenter"]

_LOG = logging.getLogger(__name__)

CONNECT_S = 10.0
"""How long a server may take to accept a connection."""

Voxel = tuple[int, int, int]
"""Index (i, j, k) of one voxel."""

_Prompt = tuple[Voxel, bool]
_Prompts = dict[int, list[_Prompt]]
_Connect = Callable[[], "tuple[_Session, Callable[[], None]]"]


class _Session(Protocol):
    """What nnInteractive's local and remote sessions have in common, as far as it is used here."""

    @property
    def license(self) -> str | None: ...
    def set_image(self, image: npt.NDArray[np.float32]) -> None: ...
    def set_target_buffer(self, target_buffer: npt.NDArray[np.uint8]) -> None: ...
    def reset_interactions(self) -> None: ...
    def add_point_interaction(self, coordinates: Voxel, include_interaction: bool) -> object: ...


class NnInteractiveSegmenter:
    """Drives one nnInteractive session; use it in a `with` statement, or call `close`.

    One case at a time: the session holds the image and the prompts, so an object must not be shared between
    threads.
    """

    def __init__(
        self,
        session: _Session,
        name: str,
        *,
        labels: Sequence[int],
        close: Callable[[], None],
        connect: _Connect | None = None,
        channel: int = 0,
        n_threads: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Wrap a session that is ready; `from_folder` and `from_url` make one.

        Args:
            session: nnInteractive's local or remote session.
            name: shown in messages and reports.
            labels: values of the task's labels, in rising order.
            close: releases what the session holds.
            connect: claims another session when a server's has failed; None gives up at once.
            channel: which image channel the model sees.
            n_threads: torch threads while segmenting; None leaves them alone (remote sessions).
            timeout_s: how long a server is waited for, to tell; None for a local session.
        """
        self._session = session
        self._name = name
        self._labels = tuple(labels)
        self._close = close
        self._connect = connect
        self._channel = channel
        self._n_threads = n_threads
        self._timeout_s = timeout_s
        self._case: Case | None = None
        self._asked: _Prompts = {}
        self._open_label: int | None = None
        self._masks = np.zeros((0, 0, 0, 0), dtype=bool)
        self._buffer = np.zeros((0, 0, 0), dtype=np.uint8)
        _LOG.info("nnInteractive model %s, licence: %s", name, self.licence)

    @classmethod
    def from_folder(
        cls, folder: Path, *, labels: Sequence[int], device: str = "cpu", n_threads: int = 1, channel: int = 0
    ) -> Self:
        """Load a model folder into this process.

        nnInteractive's own loader unpickles the checkpoint, which can run code: only load a folder that you
        trust as much as a program. The official weights are licensed CC BY-NC-SA 4.0 (no commercial use).

        Args:
            folder: holds plans.json, dataset.json and exactly one `fold_*` with checkpoint_final.pth.
            labels: values of the task's labels, in rising order.
            device: `cpu`, `cuda`, `cuda:1` ...
            n_threads: torch threads on the CPU. The session sets them for the whole process; here they are
                given back after loading and after each case.
            channel: which image channel the model sees.

        Raises:
            SegmenterError: the folder is incomplete or cannot be loaded.
        """
        _check_folder(folder)
        advice = "check the folder and the device, or switch nnInteractive off"
        with named_failures(f"{folder}: cannot be loaded", advice), quiet(n_threads):
            import torch
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

            session = nnInteractiveInferenceSession(
                device=torch.device(device), torch_n_threads=n_threads, enable_undo=False
            )
            session.initialize_from_trained_model_folder(str(folder))
        return cls(
            session,
            folder.resolve().name,
            labels=labels,
            close=session.executor.shutdown,
            channel=channel,
            n_threads=n_threads,
        )

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        labels: Sequence[int],
        api_key: str | None = None,
        timeout_s: float = ANSWER_S,
        channel: int = 0,
    ) -> Self:
        """Claim a session of a running `nninteractive-server`; images are sent there, unencrypted over http.

        Args:
            url: such as `http://host:1527`.
            labels: values of the task's labels, in rising order.
            api_key: the server's key; None reads `NN_INTERACTIVE_API_KEY`, as the client itself does.
            timeout_s: longest wait for one answer, that of a prediction too; on a CPU server they are slow.
            channel: which image channel the model sees.

        Raises:
            SegmenterError: the server cannot be reached, does not answer, refuses the key or has no free session.
        """
        from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

        advice = "check that nninteractive-server runs there, its API key and its number of sessions"

        def connect() -> tuple[_Session, Callable[[], None]]:
            with named_failures(f"{url}: no nnInteractive session", advice), tell_wait(url, timeout_s):
                session = nnInteractiveRemoteInferenceSession(
                    url,
                    api_key=api_key,
                    connect_timeout=min(CONNECT_S, timeout_s),
                    read_timeout=timeout_s,
                    set_image_read_timeout=timeout_s,
                    write_timeout=timeout_s,
                )
            return session, session.close

        session, close = connect()
        return cls(session, url, labels=labels, close=close, connect=connect, channel=channel, timeout_s=timeout_s)

    @property
    def name(self) -> str:
        """Name of the model folder, or URL of the server."""
        return self._name

    @property
    def licence(self) -> str:
        """Licence of the loaded weights, as nnInteractive reports it; `unknown` when the model has none."""
        found = self._session.license
        return "unknown" if found in (None, "", "!!MISSING!!") else str(found)

    def segment(self, case: Case, clicks: Sequence[Click]) -> Prediction:
        """Segment one case from its clicks, label by label.

        The model predicts after every click, in their order from a label's first positive one on; negative ones
        before that follow it. Clicks that are only queued are seen within the patch around the last of them alone,
        so objects that lie further apart would be missed. When clicks are added to those of the call before, the
        session goes on from there.

        Args:
            case: the scan; one of its channels is used.
            clicks: points in RAS+ mm of the labels that were given at construction.

        Returns:
            Probabilities (1 + L, I, J, K) float32 made of binary masks: 0 or 1, and equal parts where masks
            of several labels overlap. A label without a positive click is 0 everywhere.

        Raises:
            InteractionError: a click lies outside of the image, or its label is not declared.
            SegmenterError: the image cannot be used, or the session failed; on a server, a second one as well.
        """
        prompts = _prompts_by_label(case, clicks, self._labels)
        if not prompts:
            masks = np.zeros((len(self._labels), *case.geometry.shape), dtype=bool)
            return Prediction(case.id, _to_probabilities(masks), case.geometry, self._labels)
        try:
            self._ask(case, prompts)
        except SegmenterError as error:
            if self._connect is None or is_timeout(error):
                raise
            # a server forgets a session that nobody asked for some minutes
            _LOG.warning("%s: claiming another session", error)
            with suppress(Exception):
                self._close()
            self._session, self._close = self._connect()
            self._ask(case, prompts)
        return Prediction(case.id, _to_probabilities(self._masks), case.geometry, self._labels)

    def _ask(self, case: Case, prompts: _Prompts) -> None:
        """Bring the masks of all labels up to date."""
        advice = "see the log; on a server, check that it still runs"
        image = _single_channel(case, self._channel) if case is not self._case else None
        try:
            with (
                named_failures(f"{case.id}: {self._name} failed", advice),
                tell_wait(self._name, self._timeout_s),
                quiet(self._n_threads),
            ):
                if image is not None:
                    self._set_case(case, image)
                for index, label in enumerate(self._labels):
                    self._segment_label(index, label, prompts.get(label, []))
        except BaseException:
            # what the session holds is not known any more
            self._case = None
            raise

    def _set_case(self, case: Case, image: npt.NDArray[np.float32]) -> None:
        """Forget the case before and take another; image (1, I, J, K)."""
        self._session.set_image(image)
        self._case, self._asked, self._open_label = case, {}, None
        self._masks = np.zeros((len(self._labels), *case.geometry.shape), dtype=bool)

    def _segment_label(self, index: int, label: int, points: Sequence[_Prompt]) -> None:
        """Bring the mask of one label up to date with its points."""
        asked = self._asked.get(label, [])
        if points == asked:
            return
        is_continued = label == self._open_label and points[: len(asked)] == asked
        if not is_continued:
            self._buffer = np.zeros(self._masks.shape[1:], dtype=np.uint8)
            self._session.set_target_buffer(self._buffer)
            if self._open_label is not None:
                self._session.reset_interactions()
            self._open_label = label
        for voxel, is_positive in points[len(asked) if is_continued else 0 :]:
            self._session.add_point_interaction(voxel, is_positive)
        self._asked[label] = list(points)
        self._masks[index] = self._buffer > 0

    def close(self) -> None:
        """Release the threads of a local session, or the lease of a remote one."""
        self._close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def open_segmenter(
    source: str,
    *,
    labels: Sequence[int],
    device: str = "cpu",
    n_threads: int = 1,
    api_key: str | None = None,
    timeout_s: float = ANSWER_S,
    channel: int = 0,
) -> NnInteractiveSegmenter:
    """Open a server when `source` begins with http:// or https://, otherwise a model folder.

    Raises:
        SegmenterError: as `NnInteractiveSegmenter.from_url` and `NnInteractiveSegmenter.from_folder`.
    """
    if source.startswith(("http://", "https://")):
        return NnInteractiveSegmenter.from_url(
            source, labels=labels, api_key=api_key, timeout_s=timeout_s, channel=channel
        )
    return NnInteractiveSegmenter.from_folder(
        Path(source).expanduser(), labels=labels, device=device, n_threads=n_threads, channel=channel
    )


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is not one of nnInteractive's model folders."""
    if not folder.is_dir():
        raise SegmenterError(f"{folder}: there is no such folder; name a model folder in nnInteractive's format")
    for name in ("plans.json", "dataset.json", "inference_session_class.json"):
        if not (folder / name).is_file():
            raise SegmenterError(f"{folder}: no {name}; expected a model folder in nnInteractive's format")
    folds = sorted(path.parent.name for path in folder.glob("fold_*/checkpoint_final.pth"))
    if len(folds) != 1:
        found = ", ".join(folds) or "none"
        raise SegmenterError(f"{folder}: expected one fold_*/checkpoint_final.pth, found {found}; keep a single fold")


def _prompts_by_label(case: Case, clicks: Sequence[Click], labels: tuple[int, ...]) -> _Prompts:
    """Give the clicks of every label that has a positive one, which comes first; the others as given."""
    prompts: _Prompts = {label: [] for label in labels}
    for number, click in enumerate(clicks, start=1):
        if click.label not in prompts:
            raise InteractionError(
                f"{case.id}: click {number} has label {click.label}, expected one of {labels}; correct the click file"
            )
        prompts[click.label].append((_to_voxel(case, click, number), click.is_positive))
    clicked = {label: points for label, points in prompts.items() if any(positive for _, positive in points)}
    return {label: _begin_positive(points) for label, points in clicked.items()}


def _begin_positive(points: list[_Prompt]) -> list[_Prompt]:
    """Move the first positive point to the front: a session has nothing to take away before it."""
    first = next(index for index, (_, is_positive) in enumerate(points) if is_positive)
    return [points[first], *points[:first], *points[first + 1 :]]


def _to_voxel(case: Case, click: Click, number: int) -> Voxel:
    """Give the voxel that holds a click; `number` is for the message."""
    if not case.geometry.contains(click.position_mm):
        where = tuple(round(v, 1) for v in click.position_mm)
        raise InteractionError(
            f"{case.id}: click {number} at {where} mm lies outside of the image of {case.geometry.shape} "
            "voxels; correct the click file or its coordinate system"
        )
    return case.geometry.find_voxel(click.position_mm)


def _single_channel(case: Case, channel: int) -> npt.NDArray[np.float32]:
    """Give one channel as (1, I, J, K), refusing what the session would silently turn into NaN."""
    if not 0 <= channel < len(case.image):
        raise SegmenterError(
            f"{case.id}: channel {channel} was asked for, the image has {len(case.image)}; choose another"
        )
    image = case.image[channel : channel + 1]
    if not np.isfinite(image).all():
        raise SegmenterError(
            f"{case.id}: channel {channel} holds NaN or infinite voxels, nnInteractive needs finite ones; "
            "repair the image"
        )
    if image.min() == image.max():
        raise SegmenterError(
            f"{case.id}: channel {channel} is {image.min():g} everywhere, nnInteractive needs contrast; check the image"
        )
    return image


def _to_probabilities(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Turn masks (L, I, J, K) into probabilities (1 + L, I, J, K) summing to 1; overlaps are shared evenly."""
    n_masks = masks.sum(axis=0, dtype=np.uint8)
    result = np.empty((1 + len(masks), *n_masks.shape), np.float32)
    result[0] = n_masks == 0
    np.divide(masks, np.maximum(n_masks, 1), out=result[1:], dtype=np.float32)
    return result
