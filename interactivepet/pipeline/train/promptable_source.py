"""Which nnInteractive model takes part: a folder or a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.nninteractive.failures import ANSWER_S
from interactivepet.nninteractive.segmenter import NnInteractiveSegmenter, open_segmenter
from interactivepet.pipeline.stamps import FileStamps

__all__ = ["PromptableSource"]


@dataclass(frozen=True, slots=True)
class PromptableSource:
    """An nnInteractive model.

    Attributes:
        source: model folder, or URL of a running nninteractive-server; of a folder, the absolute path.
        api_key: of the server.
        timeout_s: longest wait for an answer of the server.
    """

    source: str
    api_key: str | None = None
    timeout_s: float = ANSWER_S

    def __post_init__(self) -> None:
        """Find the folder: what is stamped and whose card is read is what is loaded."""
        if not self.source.startswith(("http://", "https://")):
            object.__setattr__(self, "source", str(Path(self.source).expanduser().absolute()))

    def stamp(self, labels: Sequence[int], stamps: FileStamps) -> str:
        """Hash which model this is, by the files of a folder, and the labels that it is asked for."""
        folder = Path(self.source)
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return stamps.stamp(files, salt=f"{self.source}|{tuple(labels)}")

    def open(self, *, labels: Sequence[int], device: str, n_threads: int) -> NnInteractiveSegmenter:
        """Load the model or reach the server."""
        return open_segmenter(
            self.source,
            labels=labels,
            device=device,
            n_threads=n_threads,
            api_key=self.api_key,
            timeout_s=self.timeout_s,
        )
