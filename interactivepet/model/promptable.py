"""A model's own promptable model as the folder that nnInteractive loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from interactivepet.errors import ModelError
from interactivepet.model.folder import ModelFolder
from interactivepet.nninteractive.model_folder import EVERY_PROMPT, describe_network, write_model_folder

__all__ = ["open_promptable"]

DATASET = "Dataset999"
"""nnU-Net wants a number in the name of a dataset."""


@contextmanager
def open_promptable(model: ModelFolder) -> Iterator[Path]:
    """Write the folder for as long as the block lasts; its checkpoint is made here, of weights that were checked.

    Raises:
        ModelError: the model has none, or its weights are not what manifest and description say.
    """
    record = model.description.promptable
    if record is None:
        raise ModelError(f"{model.source} holds no promptable model; export it again with --promptable")
    task = re.sub(r"\W", "_", model.task)
    with TemporaryDirectory(prefix="interactivepet-model-") as temporary:
        folder = Path(temporary) / f"{model.manifest.name}_promptable"
        write_model_folder(
            folder,
            model.load_promptable_weights(record),
            licence=record.licence,
            dataset_name=f"{DATASET}_{task}",
            channel=record.channel,
            architecture=describe_network(record.network),
            patch_size=record.patch_size,
            prompts=record.prompts,
            offered=EVERY_PROMPT,
        )
        yield folder
