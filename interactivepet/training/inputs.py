"""What a run of training is given: the cases of the fold, and what the user may set without changing the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interactivepet.core.artefact import hash_text
from interactivepet.errors import SettingsError
from interactivepet.training.batches import StoredCase

__all__ = ["FoldData", "Keep", "TrainingOptions"]

Keep = Literal["last", "best"]


@dataclass(frozen=True, slots=True, eq=False)
class FoldData:
    """A fold's cases and where its files go.

    Attributes:
        index: of the fold.
        training: cases whose labels the network sees.
        validation: cases that it never sees.
        folder: of checkpoint and weights.
        coarse_hash: of what the first step's masks were made from, in the second step of a cascade.
    """

    index: int
    training: Sequence[StoredCase]
    validation: Sequence[StoredCase]
    folder: Path
    coarse_hash: str = ""

    @property
    def cases_hash(self) -> str:
        """Hash of who is in which part and of their voxels, labels and clicks, and of the masks that are refined."""
        parts = [f"{case.record.id}:{case.record.content_hash()}" for case in (*self.training, *self.validation)]
        return hash_text(str(len(self.training)), self.coarse_hash, *parts)

    @property
    def checkpoint(self) -> Path:
        """State of the unfinished fold."""
        return self.folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """Weights of the trained fold."""
        return self.folder / "weights.pt"

    @property
    def best_weights(self) -> Path:
        """Weights after the epoch with the best smoothed pseudo Dice."""
        return self.folder / "weights_best.pt"


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of a run.

    Attributes:
        epochs: instead of the plan's.
        iterations: an epoch, instead of the plan's.
        until_dice: stop after the epoch whose smoothed pseudo Dice reaches this, in (0, 1].
        patience: stop after so many epochs without a better smoothed pseudo Dice.
        time_limit_s: training ends within so many seconds, counted over all interruptions; the learning rate
            falls with the time when the time is the tighter limit.
        pretrained: weights, or a model, to start from.
        patients: train on the first so many of the fold's training patients only; None for all.
        keep: which weights become the fold's: the last, or those with the best smoothed pseudo Dice.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        seed: of weights, patches, clicks and augmentation.
        deterministic: give the same weights, bit for bit, on the same machine.
        compile_network: let torch compile the network; it runs as it is where that fails.
        n_threads: of torch; None leaves torch's own choice.
        n_workers: processes that draw and augment batches; 0 does it in the training process.
        resume: continue an interrupted fold; otherwise start anew.
        progress_position: line of the progress bar when several folds train side by side.
    """

    epochs: int | None = None
    iterations: int | None = None
    until_dice: float | None = None
    patience: int | None = None
    time_limit_s: float | None = None
    pretrained: Path | None = None
    patients: int | None = None
    keep: Keep = "last"
    device: str = "auto"
    seed: int = 0
    deterministic: bool = False
    compile_network: bool = False
    n_threads: int | None = None
    n_workers: int = 0
    resume: bool = True
    progress_position: int = 0

    def __post_init__(self) -> None:
        """Refuse values that contradict each other or make no sense.

        Raises:
            SettingsError: with the option to change.
        """
        if self.until_dice is not None and not 0.0 < self.until_dice <= 1.0:
            raise SettingsError(f"--until-dice {self.until_dice} is not a Dice above 0 and at most 1")
        if self.time_limit_s is not None and self.time_limit_s <= 0:
            raise SettingsError(f"--time-limit: {self.time_limit_s} seconds leave no time to train")
        if self.deterministic and self.time_limit_s is not None:
            raise SettingsError(
                "--deterministic and --time-limit exclude each other: how far a run comes in a given time differs "
                "from run to run; use --epochs and --iterations"
            )
