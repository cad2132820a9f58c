"""Every path that the project writes, and how a task is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.ensemble import ChoiceMode, ClickMode
from interactivepet.core.plan import Configuration
from interactivepet.core.promptable import FoldName
from interactivepet.dataset.layout import CLICKS_TEST, CLICKS_TRAINING, refuse_foreign_name
from interactivepet.errors import ManifestError

__all__ = ["Workspace", "check_task_name", "find_task"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The three folders of one task.

    Attributes:
        task: name of the task.
        raw: images, labels, clicks and `dataset.json`; only clicks and `dataset.json` are ever written.
        processed: fingerprint, folds, plan and preprocessed cases; can be deleted and made again.
        results: trained folds, the ensemble, reports.
    """

    task: str
    raw: Path
    processed: Path
    results: Path

    @classmethod
    def of(cls, task: str, *, raw: Path, processed: Path, results: Path) -> Workspace:
        """Open a task under the three root folders."""
        return cls(task, raw / task, processed / task, results / task)

    def clicks_folder(self, *, test: bool = False) -> Path:
        """Clicks of the training or the test cases."""
        return self.raw / (CLICKS_TEST if test else CLICKS_TRAINING)

    def image_files(self, entry: CaseEntry) -> list[Path]:
        """Images of a case."""
        return [self.raw / name for name in entry.images]

    def case_files(self, entry: CaseEntry, clicks: Path | None = None) -> list[Path]:
        """Images of a case, its label where it has one, and its click file where one is given."""
        return [*(self.raw / name for name in entry.files), *([clicks] if clicks else [])]

    @property
    def issues(self) -> Path:
        """What verification found."""
        return self.processed / "issues.json"

    @property
    def fingerprint(self) -> Path:
        """The task in numbers."""
        return self.processed / "fingerprint.json"

    @property
    def folds(self) -> Path:
        """Who is in which fold."""
        return self.processed / "folds.json"

    @property
    def plans(self) -> Path:
        """Every decision."""
        return self.processed / "plans.json"

    @property
    def file_list(self) -> Path:
        """Files that stamps were made of, with the hashes of their contents."""
        return self.processed / "stamps" / "files.json"

    @property
    def snapshots(self) -> Path:
        """Pictures of raw and preprocessed cases."""
        return self.processed / "snapshots"

    def cases(self, configuration: Configuration) -> Path:
        """Preprocessed cases of a configuration; the cascade sees those of the full resolution."""
        return self.processed / ("3d_fullres" if configuration == "3d_cascade" else configuration)

    def coarse_masks(self, mode: ClickMode) -> Path:
        """Masks of the low-resolution step, out of fold, on the grid of the full resolution."""
        return self.processed / "3d_cascade" / mode

    @property
    def coarse_card(self) -> Path:
        """Written when all coarse masks are there; says what they were made from."""
        return self.processed / "3d_cascade" / "coarse.json"

    def fold(self, configuration: Configuration, index: int) -> Path:
        """Everything of one fold."""
        return self.results / configuration / f"fold_{index}"

    def card(self, configuration: Configuration, index: int) -> Path:
        """The fold's card; its presence says that the fold is complete."""
        return self.fold(configuration, index) / "card.json"

    def out_of_fold(self, configuration: Configuration, index: int, *, mode: ClickMode) -> Path:
        """Probabilities of a fold's validation cases."""
        return self.fold(configuration, index) / "validation" / mode

    @property
    def promptable(self) -> Path:
        """Masks of nnInteractive for the training cases."""
        return self.results / "nninteractive"

    @property
    def prompt_cases(self) -> Path:
        """Training cases as a promptable network sees them."""
        return self.processed / "nninteractive"

    def promptable_fold(self, name: FoldName) -> Path:
        """Everything of one promptable model of the task's own."""
        return self.results / "nninteractive_model" / f"fold_{name}"

    @property
    def ensemble(self) -> Path:
        """The chosen fusion and postprocessing."""
        return self.results / "ensemble.json"

    @property
    def corrections(self) -> Path:
        """What folds and nnInteractive made of a simulated user's corrections of unseen cases."""
        return self.results / "corrections"

    @property
    def corrected_clicks(self) -> Path:
        """All clicks that the final corrected masks were made with."""
        return self.cross_validation("corrected") / "clicks"

    def cross_validation(self, mode: ChoiceMode) -> Path:
        """Final out-of-fold masks and their report."""
        return self.results / "crossvalidation" / mode

    def simulation(self, name: str) -> Path:
        """What a simulated user reached: a file a case, curves and report."""
        return self.results / "simulation" / name

    @property
    def predictions(self) -> Path:
        """Masks of the test cases."""
        return self.results / "predictionsTs"

    @property
    def runs(self) -> Path:
        """Runs of the experiment tracker."""
        return self.results / "runs.json"


def check_task_name(task: str) -> None:
    """Check that a task's name is that of a folder within the root folders, and no path.

    Raises:
        ManifestError: it is a path, hidden, empty, or not UTF-8.
    """
    if not task or Path(task).name != task or task.startswith("."):
        raise ManifestError(f"{task!r} is no name for a folder; give one such as Task501_STSPET with -t, and no path")
    refuse_foreign_name(Path(task))


def find_task(raw: Path, task: str | None) -> str:
    """Give the task to work on: the one named, or the only one there is.

    Raises:
        ManifestError: it is a path, it is not there, or there are several or none to choose from.
    """
    if task is not None:
        check_task_name(task)
    found = sorted(path.name for path in raw.iterdir() if (path / "imagesTr").is_dir()) if raw.is_dir() else []
    listed = ", ".join(found) or "none"
    if task is not None:
        if (raw / task).is_dir():
            return task
        raise ManifestError(f"{raw / task} is not there; tasks in {raw}: {listed}")
    if len(found) != 1:
        raise ManifestError(
            f"name the task with -t, or set interactivepet_task; tasks (folders with imagesTr) in {raw}: {listed}"
        )
    return found[0]
