"""Every exception that interactivepet raises on purpose.

```
InteractivePetError
├── SettingsError            an environment variable is missing or has no sense
├── DatasetError             a raw task cannot be used as it is
│   ├── ManifestError        dataset.json, or the folder it describes
│   ├── CaseError            one case: file, grid, values, label
│   ├── InteractionError     clicks that cannot be read or that lie outside
│   └── VerificationError    `interactivepet_verify` found problems
├── ArtefactError            a file that the pipeline wrote earlier
│   ├── MissingArtefactError it is not there: an earlier command must run first
│   └── StaleArtefactError   it was made from something that has changed since
├── PlanError                no plan fits the task and the budget
├── TrainingError            a fold cannot start, continue or finish
├── SegmenterError           a promptable model cannot be loaded, reached or used
├── ModelError               a model's file or folder is damaged, hostile or not there
├── FusionError              predictions that must not be fused
└── WorkerError              a worker process ended before its work did
```

A message names the case, what was found, what was expected and how to mend it.
"""

from __future__ import annotations

__all__ = [
    "ArtefactError",
    "CaseError",
    "DatasetError",
    "FusionError",
    "InteractionError",
    "InteractivePetError",
    "ManifestError",
    "MissingArtefactError",
    "ModelError",
    "PlanError",
    "SegmenterError",
    "SettingsError",
    "StaleArtefactError",
    "TrainingError",
    "VerificationError",
    "WorkerError",
]


class InteractivePetError(Exception):
    """The root: what a caller catches to catch all of the project's own errors."""


class SettingsError(InteractivePetError):
    """An environment variable is missing or has no sense."""


class DatasetError(InteractivePetError):
    """A raw task cannot be used as it is."""


class ManifestError(DatasetError):
    """`dataset.json`, or the folder that it describes, is incomplete or contradictory."""


class CaseError(DatasetError):
    """One case has a file, grid, intensity or label that cannot be used."""


class InteractionError(DatasetError):
    """Clicks that cannot be read, or that lie outside of the image."""


class VerificationError(DatasetError):
    """Verification found at least one problem; the table of problems was shown before."""


class ArtefactError(InteractivePetError):
    """A file that the pipeline wrote earlier cannot be used."""


class MissingArtefactError(ArtefactError):
    """A file of an earlier step is not there; the message names the command that writes it."""


class StaleArtefactError(ArtefactError):
    """A file was made from something that has changed since; the message names the command to repeat."""


class PlanError(InteractivePetError):
    """No plan fits the task and the budget."""


class TrainingError(InteractivePetError):
    """A fold cannot start, continue or finish."""


class SegmenterError(InteractivePetError):
    """A promptable model cannot be loaded, reached or used."""


class ModelError(InteractivePetError):
    """A model's file or folder is damaged, hostile, of a newer version, or not there."""


class FusionError(InteractivePetError):
    """Predictions with different grids or labels must not be fused."""


class WorkerError(InteractivePetError):
    """A worker process ended before its work did, most likely for lack of memory."""
