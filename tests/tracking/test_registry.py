"""Versions of a registered model in a real embedded store: found again, fetched, and the alias `champion`."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from interactivepet.errors import ModelError
from interactivepet.tracking.flavour import MODEL_PLACE
from interactivepet.tracking.mlflow import default_artefact_folder, default_uri
from interactivepet.tracking.registry import CHAMPION, RegisteredModel, fetch_model, is_registered
from interactivepet.tracking.store import find_experiment, open_client

SCORE = "dice_extreme_nested"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def uri(results: Path) -> str:
    open_client(default_uri(results))
    return default_uri(results)


def add_version(
    name: str, results: Path, folder: Path, *, content: str = "0", scores: dict[str, float] | None = None
) -> str:
    """Register a folder that holds one file where a model's own folder lies."""
    client = open_client(default_uri(results))
    experiment = find_experiment(client, "Task", default_artefact_folder(results))
    run = client.create_run(experiment, run_name="cross-validation")
    (folder / MODEL_PLACE).mkdir(parents=True, exist_ok=True)
    (folder / MODEL_PLACE / "manifest.json").write_text(content)
    return RegisteredModel(client, name).add_version(
        folder,
        content=content,
        experiment_id=experiment,
        run_id=run.info.run_id,
        scores=scores or {},
        description="x" * 9000,
    )


@pytest.mark.parametrize("name", ["Task501", "it's a task", 'the "task"', "Ümlaut 50%", "a@b"])
def test_the_same_content_is_found_and_fetched_under_any_name(
    name: str, uri: str, results: Path, tmp_path: Path
) -> None:
    model = RegisteredModel(open_client(uri), name)
    assert model.find_version("first") is None
    assert add_version(name, results, tmp_path / "flavour", content="first") == "1"
    assert add_version(name, results, tmp_path / "flavour", content="second") == "2"
    assert [model.find_version(content) for content in ("first", "second", "third")] == ["1", "2", None]
    fetched = fetch_model(f"models:/{name}/1", tmp_path / "fetched", uri=uri)
    assert [path.name for path in fetched.iterdir()] == ["manifest.json"]
    assert (fetched / "manifest.json").read_text() == "first"
    assert add_version(name, results, tmp_path / "flavour", content="first") == "3"
    assert model.find_version("first") == "3"


CHAMPIONS = [
    # nested estimates of the versions in their order -> the champion after each, and what the last move said
    ([0.8], ["1"], "the champion is now version 1 (dice_extreme_nested 0.8000; the first one)"),
    ([0.8, 0.7], ["1", "1"], "the champion stays version 1 (dice_extreme_nested 0.8000): version 2 has 0.7000"),
    ([0.8, 0.8], ["1", "1"], "the champion stays version 1 (dice_extreme_nested 0.8000): version 2 has 0.8000"),
    ([0.8, 0.9], ["1", "2"], "the champion is now version 2 (dice_extreme_nested 0.9000; before it was version 1 with"),
    ([0.8, 0.9, 0.85], ["1", "2", "2"], "the champion stays version 2"),
    ([None], [None], "the champion stays unset: version 1 has no dice_extreme_nested, so they cannot be compared"),
    ([math.nan], [None], "the champion stays unset: version 1 has no dice_extreme_nested"),
    ([0.8, None], ["1", "1"], "the champion stays version 1: version 2 has no dice_extreme_nested"),
]


@pytest.mark.parametrize(("scores", "champions", "said"), CHAMPIONS)
def test_the_champion_moves_to_a_better_version_only(
    scores: list[float | None], champions: list[str | None], said: str, uri: str, results: Path, tmp_path: Path
) -> None:
    name = tmp_path.name
    client = open_client(uri)
    message = ""
    for score, champion in zip(scores, champions, strict=True):
        # the estimate with other clicks would decide otherwise
        known = {"dice_none_nested": 1.0 - (score or 0.0), **({SCORE: score} if score is not None else {})}
        version = add_version(name, results, tmp_path / "flavour", scores=known)
        message = RegisteredModel(client, name).move_champion(version, score=SCORE)
        aliases = client.get_registered_model(name).aliases
        assert {alias: str(held) for alias, held in aliases.items()} == ({CHAMPION: champion} if champion else {})
    assert message.startswith(said)


def test_a_champion_without_an_estimate_stays_until_a_person_moves_it(uri: str, results: Path, tmp_path: Path) -> None:
    client = open_client(uri)
    for score in ({}, {SCORE: 0.9}):
        add_version("by hand", results, tmp_path / "flavour", scores=score)
    client.set_registered_model_alias("by hand", CHAMPION, "1")
    model = RegisteredModel(client, "by hand")
    assert model.move_champion("2", score=SCORE) == (
        f"the champion stays version 1: version 1 has no {SCORE}, so they cannot be compared"
    )
    client.set_registered_model_alias("by hand", CHAMPION, "2")
    assert model.move_champion("2", score=SCORE) == f"version 2 is the champion already ({SCORE} 0.9000)"


def test_a_version_tells_its_scores_and_nothing_of_the_machine(uri: str, results: Path, tmp_path: Path) -> None:
    add_version("told", results, tmp_path / "flavour", scores={SCORE: 0.1 + 0.2})
    client = open_client(uri)
    version = client.get_model_version("told", "1")
    assert version.tags == {"content": "0", SCORE: repr(0.1 + 0.2)}
    assert version.user_id is None
    assert len(version.description) == 5000
    assert client.get_run(version.run_id).data.metrics == {SCORE: 0.1 + 0.2}
    assert client.get_run(version.run_id).info.user_id == "unknown"
    assert set(client.get_run(version.run_id).data.tags) == {"mlflow.runName"}


ADDRESSES = [
    # what is no address, or leads nowhere -> the message
    ("models:/lesion", "is no address of a model; expected models:/NAME/VERSION or models:/NAME@ALIAS"),
    ("models:/lesion/", "is no address of a model"),
    ("models:/lesion/latest", "is no address of a model"),
    ("models:/lesion/0", "is no address of a model"),
    ("models:/lesion/-1", "is no address of a model"),
    ("models:/lesion/1/../../etc", "is no address of a model"),
    ("models:lesion/1", "is no address of a model"),
    ("models://host/lesion/1", "is no address of a model"),
    ("models:/lesion@", "is no address of a model"),
    ("models:/lesion/99", "cannot be read from MLflow at sqlite://"),
    ("models:/nobody/1", "Registered Model with name=nobody not found"),
    ("models:/lesion@nobody", "Registered model alias nobody not found"),
]


@pytest.mark.parametrize(("address", "message"), ADDRESSES)
def test_an_address_that_leads_nowhere_is_one_error(
    address: str, message: str, uri: str, results: Path, tmp_path: Path
) -> None:
    if not RegisteredModel(open_client(uri), "lesion").find_version("0"):
        add_version("lesion", results, tmp_path / "flavour")
    assert is_registered(address)
    with pytest.raises(ModelError) as caught:
        fetch_model(address, tmp_path / "fetched", uri=uri)
    assert str(caught.value).startswith(address)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["lesion.zip", "models/lesion", "models", "./models:/x", "file:/models:/x"])
def test_paths_and_names_are_no_addresses(text: str) -> None:
    assert not is_registered(text)


def test_a_model_of_something_else_is_one_error(uri: str, results: Path, tmp_path: Path) -> None:
    client = open_client(uri)
    (tmp_path / "foreign").mkdir()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", (tmp_path / "foreign").as_uri())
    with pytest.raises(ModelError, match="models:/foreign/1 cannot be read from MLflow"):
        fetch_model("models:/foreign/1", tmp_path / "fetched", uri=uri)


def test_a_store_that_is_not_there_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models:/lesion/1: there is no MLflow store at"):
        fetch_model("models:/lesion/1", tmp_path / "fetched", uri=f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_one_error_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read from MLflow at http://127\.0\.0\.1:9") as caught:
        fetch_model("models:/lesion/1", tmp_path, uri="http://user:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
