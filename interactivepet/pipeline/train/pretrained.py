"""What training starts from: a model, or the weights of another fold with what its card and plan say."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.plan import Configuration, Fold, Plan, Plans
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import ArtefactError
from interactivepet.model.description import FoldRecord
from interactivepet.model.folder import ModelFolder, open_model
from interactivepet.model.installed import find_model
from interactivepet.model.manifest import MANIFEST
from interactivepet.model.promptable import open_promptable
from interactivepet.training.pretrained import PretrainedNetwork, read_weights_file

__all__ = ["PretrainedReader", "open_first_model"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PretrainedReader:
    """Reads what a fold starts from; small enough to be sent to a worker.

    Attributes:
        task: of the fold.
        configuration: of the fold.
        fold: its cases.
        processed: folder of all planned tasks, where the plan of other weights is looked for.
    """

    task: str
    configuration: Configuration
    fold: Fold
    processed: Path

    def __call__(self, path: Path) -> PretrainedNetwork:
        """Read a model, in a zip file or a folder, or the `weights.pt` of a fold.

        Raises:
            TrainingError: the file of weights is missing or damaged.
            ModelError: the model is damaged, hostile or no model.
        """
        if path.is_dir() or path.suffix == ".zip":
            with open_model(path) as model:
                return self._read_model(model)
        return self._read_weights(path)

    def _read_model(self, model: ModelFolder) -> PretrainedNetwork:
        """Read the fold of the same number and configuration, or the first one."""
        description = model.description
        known = description.folds
        configuration = self.configuration if known.get(self.configuration) else description.needed[0]
        fold = self._choose_fold(model, known[configuration])
        return PretrainedNetwork(
            model.manifest.name,
            model.load_weights(configuration, fold),
            description.licence,
            description.plans.plan(configuration),
        )

    def _choose_fold(self, model: ModelFolder, records: Sequence[FoldRecord]) -> int:
        indices = [record.fold for record in records]
        if self.fold.index in indices:
            return self.fold.index
        if model.task == self.task:
            logger.warning(
                "%s was trained on %s and has no fold %d: its fold %d may have seen the cases that this one is judged "
                "on, and then the cross-validation is not honest",
                model.source,
                self.task,
                self.fold.index,
                indices[0],
            )
        return indices[0]

    def _read_weights(self, path: Path) -> PretrainedNetwork:
        """Read weights, with licence and plan where the card beside them and the plan of its task are there."""
        given = read_weights_file(path)
        try:
            card = read_artefact(path.parent / "card.json", CheckpointCard, command="interactivepet_train")
        except ArtefactError:
            return given
        if seen := sorted(set(card.training) & set(self.fold.validation)):
            logger.warning(
                "%s was trained on %s, which fold %d is judged on: the cross-validation is not honest, unless these "
                "are other patients of the same names",
                path,
                ", ".join(seen[:5]),
                self.fold.index,
            )
        name = f"{path.name} of {card.task}, fold {card.fold}"
        return replace(given, name=name, licence=card.licence, plan=self._find_plan(card))

    def _find_plan(self, card: CheckpointCard) -> Plan | None:
        """Find the plan that a fold was trained by; None where it is not there any more."""
        path = self.processed / card.task / "plans.json"
        try:
            plans = read_artefact(path, Plans, command="interactivepet_plan_and_process")
        except ArtefactError:
            return None
        found = [plans.plan(name) for name in plans.configurations]
        return next((plan for plan in found if plan.content_hash() == card.made_from), None)


@contextmanager
def open_first_model(text: str | None, store: Path, *, task: str) -> Iterator[Path | None]:
    """Open what a promptable model starts from, as a model folder of nnInteractive; None gives None.

    Args:
        text: such a folder; or a model (zip file, folder or installed name) that a promptable one is part of, which is
            written as such a folder for as long as the block lasts.
        store: folder of the installed models.
        task: that is trained; a model of the same one may have seen the cases that a fold is judged on.

    Raises:
        ModelError: there is no such folder or model, or the model has no promptable one.
    """
    if text is None:
        yield None
        return
    path = Path(text).expanduser()
    if path.is_dir() and not (path / MANIFEST).is_file():
        yield path
        return
    with open_model(find_model(text, store)) as model, open_promptable(model) as folder:
        if model.task == task:
            logger.warning(
                "%s was trained on %s and does not tell on which cases: where a fold is judged on some of them, its "
                "cross-validation is not honest",
                model.source,
                task,
            )
        yield folder
