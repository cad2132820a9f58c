"""The environment variables that users set, as one typed and checked model; read at entry points only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self, TypeVar

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from interactivepet.errors import SettingsError

__all__ = [
    "MachineSettings",
    "Settings",
    "TaskFolders",
    "count_processors",
    "load_machine_settings",
    "load_settings",
    "variable_names",
]

MAXIMUM_DEFAULT_PROCESSES = 8
"""More worker processes than this have to be asked for: each one holds a whole case in memory."""


def count_processors() -> int:
    """Count the processors that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _expand(value: object) -> object:
    """Replace `~`, `$NAME` and `${NAME}` in a path, and make it absolute."""
    if not isinstance(value, str | Path):
        return value
    expanded = Path(os.path.expandvars(value)).expanduser()
    if "$" in str(expanded):
        raise ValueError(f"{expanded} names a variable that is not set")
    return expanded.absolute()


def _check_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("it should start with http:// or https://")
    return value.rstrip("/")


Folder = Annotated[Path, BeforeValidator(_expand)]
Address = Annotated[str, AfterValidator(_check_address)]


class TaskFolders(BaseModel):
    """Where tasks are."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    raw: Folder = Field(alias="interactivepet_raw", examples=["~/InteractivePET/raw"])
    """Folder with one raw task a sub-folder."""
    processed: Folder = Field(alias="interactivepet_processed", examples=["~/InteractivePET/processed"])
    """Folder for fingerprints, plans and preprocessed cases."""
    results: Folder = Field(alias="interactivepet_results", examples=["~/InteractivePET/results"])
    """Folder for trained folds, the ensemble and reports."""


class MachineSettings(BaseModel):
    """How much of the machine may be used, and what else is there: all that commands without a task need."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    models: Folder = Field(
        default_factory=lambda: Path.home() / ".interactivepet" / "models",
        alias="interactivepet_models",
        examples=["~/.interactivepet/models"],
    )
    """Folder of the installed models."""
    task: str | None = Field(default=None, alias="interactivepet_task", examples=["Task501_STSPET"])
    """The task that commands work on without `-t`."""
    n_proc: int = Field(
        default_factory=lambda: min(MAXIMUM_DEFAULT_PROCESSES, count_processors()),
        ge=1,
        alias="interactivepet_n_proc",
        examples=["4"],
    )
    """Worker processes for stages that go case by case."""
    n_threads: int | None = Field(default=None, ge=1, alias="interactivepet_n_threads", examples=["1"])
    """Threads of PyTorch in one process; None uses all cores, shared between folds that train side by side."""
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        alias="interactivepet_device",
        examples=["cuda:0"],
    )
    """`auto`, `cpu`, `mps`, `cuda` or `cuda:N`."""
    nninteractive_model: Folder | None = Field(
        default=None, alias="interactivepet_nninteractive_model", examples=["~/InteractivePET/nnInteractive"]
    )
    """Model folder of nnInteractive, for a session inside this process."""
    nninteractive_url: Address | None = Field(
        default=None, alias="interactivepet_nninteractive_url", examples=["http://localhost:1527"]
    )
    """Address of a running `nninteractive-server`."""
    nninteractive_api_key: SecretStr | None = Field(
        default=None, alias="interactivepet_nninteractive_api_key", examples=["key-of-the-server"]
    )
    """What that server asks for."""
    nninteractive_timeout: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, alias="interactivepet_nninteractive_timeout", examples=["300"]
    )
    """Seconds that the server may take to answer."""
    scheduler: str | None = Field(default=None, alias="interactivepet_scheduler", examples=["tcp://localhost:8786"])
    """Address of a Dask scheduler for the stages that go case by case, but for evaluation, and for folds."""
    mlflow_tracking_uri: str | None = Field(
        default=None, alias="MLFLOW_TRACKING_URI", examples=["http://localhost:5000"]
    )
    """MLflow server; None keeps an embedded store under `results`."""

    @model_validator(mode="after")
    def _check_one_nninteractive(self) -> Self:
        if self.nninteractive_model is not None and self.nninteractive_url is not None:
            raise ValueError(
                "interactivepet_nninteractive_model and interactivepet_nninteractive_url are both set, but "
                "nnInteractive runs either here or on a server: unset one of them"
            )
        return self


class Settings(MachineSettings, TaskFolders):
    """Where things are and how much of the machine may be used.

    Each field's alias is the environment variable that sets it; `env.example` lists them all.
    """


S = TypeVar("S", bound=MachineSettings)


def variable_names() -> tuple[str, ...]:
    """List the environment variables of the settings, in the order of the fields."""
    return tuple(str(field.alias) for field in Settings.model_fields.values())


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    directory: Path | None = None,
) -> Settings:
    """Read the settings from the environment and from `.env`; the environment wins.

    Args:
        environ: the environment; None takes the process's own.
        directory: where `.env` is looked for; None takes the working directory.

    Returns:
        The settings. An empty variable counts as not set.

    Raises:
        SettingsError: a variable is missing or has no sense; the message shows the line to add.
    """
    return _load(Settings, environ, directory)


def load_machine_settings(
    environ: Mapping[str, str] | None = None, *, directory: Path | None = None
) -> MachineSettings:
    """Read the settings that need no folder of tasks; arguments and errors as of `load_settings`."""
    return _load(MachineSettings, environ, directory)


def _load(kind: type[S], environ: Mapping[str, str] | None, directory: Path | None) -> S:
    file = (directory or Path.cwd()) / ".env"
    try:
        from_file = dotenv_values(file, interpolate=False) if file.is_file() else {}
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: is not UTF-8 ({error}); save it as UTF-8") from error
    merged = {**from_file, **(os.environ if environ is None else environ)}
    names = [str(field.alias) for field in kind.model_fields.values()]
    values = {name: merged[name] for name in names if merged.get(name)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_describe(details, file) for details in error.errors()]
    raise SettingsError("\n".join(problems))


def _describe(details: ErrorDetails, file: Path) -> str:
    """Say what is wrong with one variable and which line mends it."""
    message = details["msg"].removeprefix("Value error, ")
    if not details["loc"]:
        return f"{message} (in {file} or in the shell)."
    name = str(details["loc"][0])
    if details["type"] == "missing":
        problem = f"{name} is not set. Add this line"
    else:
        problem = f'{name}="{details["input"]}" cannot be used: {message}. Expected a line such as'
    return f"{problem} to {file}, or run it in the shell:\n    {_example_line(name)}"


def _example_line(name: str) -> str:
    field = next(field for field in Settings.model_fields.values() if field.alias == name)
    example = field.examples[0] if field.examples else ""
    return f'export {name}="{example}"'
