"""Settings from the environment and from `.env`, and the errors that say how to mend them."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from interactivepet.errors import SettingsError
from interactivepet.settings import Settings, count_processors, load_machine_settings, load_settings, variable_names

PROJECT_ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {"interactivepet_raw": "/a", "interactivepet_processed": "/b", "interactivepet_results": "/c"}


def load(directory: Path, **variables: str) -> Settings:
    return load_settings({**REQUIRED, **variables}, directory=directory)


def test_folders_are_required_and_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.raw, settings.processed, settings.results) == (Path("/a"), Path("/b"), Path("/c"))
    assert settings.n_proc == min(8, count_processors())
    assert settings.device == "auto"
    assert settings.task is settings.n_threads is settings.mlflow_tracking_uri is settings.scheduler is None


def test_every_missing_variable_is_named_with_the_line_to_add(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"interactivepet_processed": "/b", "interactivepet_results": ""}, directory=tmp_path)
    message = str(caught.value)
    assert 'export interactivepet_raw="~/InteractivePET/raw"' in message
    assert 'export interactivepet_results="~/InteractivePET/results"' in message
    assert "interactivepet_processed" not in message
    assert str(tmp_path / ".env") in message


def test_commands_without_a_task_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert load_machine_settings({}, directory=tmp_path).models == tmp_path / "me" / ".interactivepet" / "models"
    assert load_machine_settings({**REQUIRED, "interactivepet_models": "/m"}, directory=tmp_path).models == Path("/m")
    with pytest.raises(SettingsError, match="interactivepet_n_threads"):
        load_machine_settings({"interactivepet_n_threads": "0"}, directory=tmp_path)
    with pytest.raises(SettingsError, match="interactivepet_raw is not set"):
        load_settings({"interactivepet_models": "/m"}, directory=tmp_path)


@pytest.mark.parametrize("value", ["~/pet", "$HOME/pet", "${HOME}/pet"])
def test_home_is_expanded(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    settings = load(tmp_path, interactivepet_raw=value, interactivepet_nninteractive_model=value)
    assert settings.raw == settings.nninteractive_model == tmp_path / "me" / "pet"


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, interactivepet_raw="raw").raw == tmp_path / "raw"


def test_the_shell_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\n"
        'export interactivepet_raw="/from file"\n'
        "interactivepet_results='/results'\n"
        "interactivepet_processed=/processed  # said why\n"
        "export interactivepet_nninteractive_api_key='a${b}$c'\n"
        "export interactivepet_task=Task001\n"
        "SOMETHING_ELSE=1\n"
    )
    settings = load_settings({"interactivepet_task": "Task002"}, directory=tmp_path)
    assert settings.raw == Path("/from file")
    assert settings.results == Path("/results")
    assert settings.processed == Path("/processed")
    assert settings.task == "Task002"
    assert settings.nninteractive_api_key is not None
    assert settings.nninteractive_api_key.get_secret_value() == "a${b}$c"


def test_the_process_environment_and_directory_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variable_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("interactivepet_raw=/a\ninteractivepet_processed=/b\n")
    monkeypatch.setenv("interactivepet_results", "/c")
    assert load_settings() == load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interactivepet_n_proc", "0"),
        ("interactivepet_n_proc", "many"),
        ("interactivepet_n_threads", "-1"),
        ("interactivepet_device", "gpu"),
        ("interactivepet_nninteractive_url", "localhost:1527"),
        ("interactivepet_raw", "$interactivepet_no_such_variable/raw"),
    ],
)
def test_a_bad_value_is_shown_with_an_example(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{name: value})
    assert f'{name}="{value}"' in str(caught.value)
    assert f"    export {name}=" in str(caught.value)


def test_model_and_server_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unset one of them"):
        load(
            tmp_path,
            interactivepet_nninteractive_model="/m",
            interactivepet_nninteractive_url="https://host/",
        )
    assert load(tmp_path, interactivepet_nninteractive_url="https://host/").nninteractive_url == "https://host"


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, interactivepet_nninteractive_api_key="hidden")
    assert "hidden" not in repr(settings)
    assert "hidden" not in settings.model_dump_json()


def test_env_example_names_every_variable_once_with_a_comment() -> None:
    lines = (PROJECT_ROOT / "env.example").read_text().splitlines()
    named = [match[1] for line in lines if (match := re.match(r"(?:# )?export (\w+)=", line))]
    assert named == list(variable_names())
    for previous, line in itertools.pairwise(lines):
        if "export " in line:
            assert re.match(r"# (?!export)\w", previous), f"no comment above {line}"
    live = [shlex.split(line)[1].partition("=")[0] for line in lines if line.startswith("export ")]
    assert live == list(REQUIRED)


def test_env_example_loads_as_it_is_and_with_every_line_that_does_not_exclude_another(tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "env.example").read_text()
    (tmp_path / ".env").write_text(text)
    settings = load_settings({}, directory=tmp_path)
    assert settings.raw == Path("~/InteractivePET/raw").expanduser()
    (tmp_path / ".env").write_text(text.replace("# export ", "export "))
    settings = load_settings({"interactivepet_nninteractive_model": ""}, directory=tmp_path)
    assert settings.nninteractive_url == "http://localhost:1527"
    assert settings.n_proc == 4


def test_env_example_shows_the_examples_of_the_errors() -> None:
    text = (PROJECT_ROOT / "env.example").read_text()
    for field in Settings.model_fields.values():
        assert field.examples is not None
        assert f'export {field.alias}="{field.examples[0]}"\n' in text
