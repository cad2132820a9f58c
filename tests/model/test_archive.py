"""A model as one file: what is in it, and every archive that is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from interactivepet.core.plan import NetworkPlan, Plan
from interactivepet.errors import ModelError
from interactivepet.model.description import PROMPTABLE_WEIGHTS
from interactivepet.model.entries import MOST_ENTRIES
from interactivepet.model.folder import open_folder, open_model
from interactivepet.model.manifest import DESCRIPTION, LICENCE, MANIFEST, SMALL_BYTES
from interactivepet.model.weights import pack_weights, unpack_weights
from interactivepet.networks.build import build_network
from tests.model.models import NETWORK, PROMPTABLE, make_network_plan, make_weights, write_model
from tests.networks.test_build import make_transformer, make_unet

WEIGHTS = "weights/3d_fullres/fold_0.safetensors"
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left behind is then seen beside the archive."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def read_files(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def list_again(files: Files) -> Files:
    """Give the files with a manifest that fits them, as a hostile sender would."""
    manifest = json.loads(files[MANIFEST])
    sums = {name: {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)} for name, text in files.items()}
    manifest["files"] = {name: entry for name, entry in sums.items() if name != MANIFEST}
    return {**files, MANIFEST: json.dumps(manifest).encode()}


def write_files(path: Path, files: Files) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write_model(tmp_path / "a.zip"), write_model(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "temporary"]


def test_an_ordinary_program_opens_it(tmp_path: Path) -> None:
    subprocess.run(["python3", "-m", "zipfile", "-e", write_model(tmp_path / "a.zip"), tmp_path / "out"], check=True)
    folder = open_folder(tmp_path / "out")
    folder.verify()
    assert (tmp_path / "out" / LICENCE).read_text() == "MIT\n"


NETWORKS: dict[str, NetworkPlan] = {
    "plain": NETWORK,
    "residual": make_unet(architecture="residual"),
    "slices": make_unet(flat=2),
    "unetr": make_transformer("unetr", (16, 16, 16)),
    "swinunetr": make_transformer("swinunetr", (32, 32, 32)),
    "swinunetr of slices": make_transformer("swinunetr", (32, 1, 64)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_back_bit_by_bit(name: str) -> None:
    if "unetr" in name:
        pytest.importorskip("monai")
    plan = make_network_plan().model_copy(update={"network": NETWORKS[name]})
    weights = make_weights(plan)
    found = unpack_weights(plan, pack_weights(plan, weights), source="w")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_half_the_size_come_back_rounded(name: str) -> None:
    if "unetr" in name:
        pytest.importorskip("monai")
    plan = make_network_plan().model_copy(update={"network": NETWORKS[name]})
    weights = make_weights(plan)
    whole, half = pack_weights(plan, weights), pack_weights(plan, weights, precision="float16")
    assert len(half) < 0.7 * len(whole)
    found = unpack_weights(plan, half, source="w")
    for name_, tensor in weights.items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert found[name_].dtype == tensor.dtype
        assert torch.equal(found[name_], rounded)


def test_a_weight_beyond_float16_is_refused() -> None:
    plan = make_network_plan()
    weights = make_weights(plan)
    weights[min(weights)].view(-1)[0] = 70000.0
    with pytest.raises(ModelError, match=r"beyond the range of float16; store the weights as float32"):
        pack_weights(plan, weights, precision="float16")
    pack_weights(plan, weights)


def test_a_file_of_two_precisions_is_refused() -> None:
    plan = make_network_plan()
    tensors = load(pack_weights(plan, make_weights(plan)))
    mixed = {name: tensor.half() if name == min(tensors) else tensor for name, tensor in tensors.items()}
    with pytest.raises(ModelError, match=r"of torch\.float16, expected .* of torch\.float32"):
        unpack_weights(plan, save(mixed), source="w")


def test_a_tensor_of_several_names_is_stored_once() -> None:
    plan = make_network_plan()
    weights = make_weights(plan)
    stored = load(pack_weights(plan, weights))
    network = build_network(plan.network, deep_supervision=False)
    assert sum(tensor.numel() for tensor in stored.values()) == sum(tensor.numel() for tensor in network.parameters())
    assert len(stored) < len(weights)


def test_a_folder_is_verified_as_a_file_is(tmp_path: Path) -> None:
    with open_model(write_model(tmp_path / "a.zip")) as model:
        model.verify()
        extracted = model.path
    assert not extracted.exists()


def test_a_file_of_the_first_schema_is_read(tmp_path: Path) -> None:
    files = read_files(write_model(tmp_path / "new.zip"))
    description = json.loads(files[DESCRIPTION])
    for name in ("folds_alone", "curves", "precision", "promptable"):
        del description[name]
    description["schema_version"] = 1
    write_files(tmp_path / "old.zip", list_again({**files, DESCRIPTION: json.dumps(description).encode()}))
    with open_model(tmp_path / "old.zip") as model:
        model.verify()
        assert (model.description.precision, model.description.curves, model.has_promptable) == ("float32", (), False)


def replace_weights(change: Callable[[Files, dict[str, torch.Tensor]], bytes]) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        return list_again({**files, WEIGHTS: change(files, load(files[WEIGHTS]))})

    return apply


def set_nan(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    tensors[min(tensors)].view(-1)[0] = float("nan")
    return save(tensors)


def set_infinite(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    tensors[max(tensors)].view(-1)[-1] = float("-inf")
    return save(tensors)


def set_shape(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    return save({**tensors, min(tensors): torch.zeros(2, 2)})


def set_dtype(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    return save({name: tensor.double() for name, tensor in tensors.items()})


def leave_one_out(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    return save({name: tensor for name, tensor in tensors.items() if name != min(tensors)})


def add_one(files: Files, tensors: dict[str, torch.Tensor]) -> bytes:
    return save({**tensors, "more": torch.zeros(1)})


def change_json(file: str, /, **values: object) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        changed = {**files, file: json.dumps({**json.loads(files[file]), **values}).encode()}
        return changed if file == MANIFEST else list_again(changed)

    return apply


def change_network(**values: object) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        description = json.loads(files[DESCRIPTION])
        description["plans"]["configurations"]["3d_fullres"]["network"].update(values)
        return list_again({**files, DESCRIPTION: json.dumps(description).encode()})

    return apply


def change_plan(**values: object) -> Callable[[Files], Files]:
    """Change fields of the configuration; a function is given the present value."""

    def apply(files: Files) -> Files:
        description = json.loads(files[DESCRIPTION])
        plan = description["plans"]["configurations"]["3d_fullres"]
        plan.update({name: v(plan[name]) if callable(v) else v for name, v in values.items()})
        return list_again({**files, DESCRIPTION: json.dumps(description).encode()})

    return apply


def change_promptable(**values: object) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        description = json.loads(files[DESCRIPTION])
        network = {**description["promptable"]["network"], **values.pop("network", {})}  # type: ignore[dict-item]
        description["promptable"].update({**values, "network": network})
        return list_again({**files, DESCRIPTION: json.dumps(description).encode()})

    return apply


def replace_prompt_weights(content: Callable[[], bytes]) -> Callable[[Files], Files]:
    return lambda files: list_again({**files, PROMPTABLE_WEIGHTS: content()})


def pack_pickle() -> bytes:
    stream = BytesIO()
    torch.save({"a": torch.zeros(1)}, stream)
    return stream.getvalue()


CONTENTS: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no manifest": (lambda f: {k: v for k, v in f.items() if k != MANIFEST}, "no model of interactivepet"),
    "another zip": (lambda f: {"readme.txt": b"hello"}, "no model of interactivepet: it holds no manifest.json"),
    "wrong hash": (lambda f: {**f, WEIGHTS: f[WEIGHTS][:-1] + b"\1"}, f"{WEIGHTS} has SHA-256"),
    "wrong hash of the licence": (lambda f: {**f, LICENCE: b"GPL\n"}, "LICENSE has SHA-256"),
    "wrong size": (lambda f: {**f, LICENCE: b"MIT, or not\n"}, "LICENSE has 12 bytes, expected at most 4"),
    "missing weights": (lambda f: {k: v for k, v in f.items() if k != WEIGHTS}, f"{WEIGHTS} is missing, which manif"),
    "missing card": (
        lambda f: list_again({k: v for k, v in f.items() if k != "MODEL_CARD.md"}),
        "lists no MODEL_CARD.md",
    ),
    "missing weights, not listed": (
        lambda f: list_again({k: v for k, v in f.items() if k != WEIGHTS}),
        f"{WEIGHTS} is missing, which model.json names",
    ),
    "unlisted file": (lambda f: {**f, "setup.py": b"import os"}, "setup.py is not listed in manifest.json"),
    "listed foreign file": (lambda f: list_again({**f, "setup.py": b"import os"}), "manifest.json: files"),
    "newer manifest": (
        change_json(MANIFEST, schema_version=2, package_version="9.9", news=1),
        "schema_version 2 of interactivepet 9.9, expected 1; install that version",
    ),
    "newer description": (change_json(DESCRIPTION, schema_version=3, news=1), r"model\.json: schema_version 3"),
    "much newer description": (change_json(DESCRIPTION, schema_version=7, news=1), r"model\.json: schema_version 7"),
    "unknown field": (change_json(DESCRIPTION, news=1), r"model\.json: news: no such key"),
    "no JSON": (lambda f: list_again({**f, DESCRIPTION: b"{"}), r"model\.json is no JSON"),
    "JSON that is not UTF-8": (lambda f: list_again({**f, DESCRIPTION: b'"\xff"'}), r"model\.json is no JSON"),
    "deep JSON": (lambda f: list_again({**f, DESCRIPTION: b"[" * 10**6}), r"model\.json is no JSON"),
    "manifest of a list": (lambda f: {**f, MANIFEST: b"[]"}, "expected a ModelManifest"),
    "name that is a path": (change_json(MANIFEST, name="../x"), "manifest.json: name"),
    "pickle as description": (lambda f: list_again({**f, DESCRIPTION: pickle.dumps({})}), r"model\.json is no JSON"),
    "pickle as weights": (lambda f: list_again({**f, WEIGHTS: pickle.dumps({})}), f"{WEIGHTS} is a pickle"),
    "old pickle as weights": (lambda f: list_again({**f, WEIGHTS: pickle.dumps({}, 0)}), "holds no safetensors"),
    "torch file as weights": (lambda f: list_again({**f, WEIGHTS: pack_pickle()}), f"{WEIGHTS} holds no safetensors"),
    "empty weights": (lambda f: list_again({**f, WEIGHTS: b""}), f"{WEIGHTS} holds no safetensors"),
    "NaN weights": (replace_weights(set_nan), "has values that are not finite"),
    "infinite weights": (replace_weights(set_infinite), "has values that are not finite"),
    "wrong shape": (replace_weights(set_shape), r"has shape \(2, 2\)"),
    "wrong type": (replace_weights(set_dtype), r"of torch\.float64, expected .* of torch\.float32"),
    "missing tensor": (replace_weights(leave_one_out), "lacks .*another network than the plan's"),
    "unknown tensor": (replace_weights(add_one), "has the unknown more"),
    "network of too many layers": (change_network(n_conv_per_stage=[10**9, 1]), "more weights than the file"),
    "network of too many features": (change_network(features_per_stage=[10**6, 10**6]), "more weights than the file"),
    "network of endless features": (change_network(features_per_stage=[10**30, 4]), "network of more weights|GB"),
    "network of an endless kernel": (
        change_network(kernel_sizes=[[10**12 + 1] * 3, [3, 3, 3]]),
        "more weights than the file",
    ),
    "network of a few more features": (change_network(features_per_stage=[4, 9]), "has shape"),
    "patch that no memory holds": (
        change_plan(patch_size=[10**6] * 3),
        r"model\.json: patch_size \(1000000, 1000000, 1000000\) of 3d_fullres takes at least .* GB, this machine has",
    ),
    "grid that no memory holds": (
        change_plan(target_shape=[10**5] * 3),
        r"model\.json: target_shape .* of 3d_fullres takes at least 4e\+06 GB",
    ),
    "label that moves the cursor": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"edema"', b'"\\u001b[2J"')}),
        r"model\.json: '\\x1b\[2J' has characters that cannot be printed",
    ),
    "licence that moves the cursor": (change_json(DESCRIPTION, licence="MIT\n\x1b[2J"), "cannot be printed"),
    "label that no mask holds": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"edema":3', b'"edema":300')}),
        r"label values .300, 1., expected different ones from 1 to 255",
    ),
    "label that is the background": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"edema":3', b'"edema":0')}),
        "expected different ones from 1 to 255",
    ),
    "two labels of one value": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"edema":3', b'"edema":1')}),
        "expected different ones from 1 to 255",
    ),
    "mean that is no number": (
        change_plan(normalisation=lambda known: [{**known[0], "mean": float("nan")}]),
        r"model\.json: plans\.configurations\.3d_fullres\.normalisation\.0\.mean is not finite",
    ),
    "clip without an end": (
        change_plan(normalisation=lambda known: [{**known[0], "clip": [0.0, float("inf")]}]),
        r"normalisation\.0\.clip\.1 is not finite",
    ),
    "axis that is mirrored again and again": (
        change_plan(training=lambda known: {**known, "mirror_axes": [0, 1] * 30}),
        r"mirror_axes of 3d_fullres has 60 entries, expected each axis once",
    ),
    "weights for other labels": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"edema":3,', b"")}),
        r"model\.json: .*input and output channels must be",
    ),
    "fold of an unplanned configuration": (
        lambda f: list_again({**f, DESCRIPTION: f[DESCRIPTION].replace(b'"folds":{"3d_fullres"', b'"folds":{"2d"')}),
        "folds: expected some for 3d_fullres",
    ),
    "absolute path": (lambda f: {**f, "/etc/x": b"x"}, "'/etc/x' is an absolute path"),
    "absolute path of Windows": (lambda f: {**f, "C:/x": b"x"}, "'C:/x' is an absolute path"),
    "path traversal": (lambda f: {**f, "../x": b"x"}, "'../x' leads out of the archive"),
    "inner path traversal": (lambda f: {**f, "weights/../../x": b"x"}, "leads out of the archive"),
    "path traversal of Windows": (lambda f: {**f, "..\\x": b"x"}, "leads out of the archive"),
    "nested zip": (lambda f: {**f, "more.zip": b"x"}, "'more.zip' is an archive inside of the archive"),
    "nested tar": (lambda f: {**f, "weights/more.tar": b"x"}, "is an archive inside of the archive"),
    "nested zip as weights": (lambda f: list_again({**f, WEIGHTS: b"PK\3\4" + bytes(99)}), "holds no safetensors"),
    "pickle": (lambda f: {**f, "weights.pt": pack_pickle()}, "'weights.pt' may hold a pickle"),
    "many entries": (lambda f: {**f, **{f"{n}": b"" for n in range(MOST_ENTRIES)}}, "expected at most 1000"),
    "same name but for case": (lambda f: {**f, "license": b"x"}, "'license' is there twice"),
    "control character": (lambda f: {**f, "a\nb": b"x"}, "has a character that no file"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_model_of_another_content_is_refused(name: str, tmp_path: Path) -> None:
    change, message = CONTENTS[name]
    write_files(tmp_path / "bad.zip", change(read_files(write_model(tmp_path / "good.zip"))))
    refuse(tmp_path / "bad.zip", message)


PROMPTABLES: dict[str, tuple[Callable[[Files], Files], str]] = {
    "missing weights": (
        lambda f: list_again({k: v for k, v in f.items() if k != PROMPTABLE_WEIGHTS}),
        f"{PROMPTABLE_WEIGHTS} is missing, which model.json names",
    ),
    "weights of a fold": (
        lambda f: list_again({**f, PROMPTABLE_WEIGHTS: f[WEIGHTS]}),
        f"{PROMPTABLE_WEIGHTS}: .* has shape",
    ),
    "wrong hash": (lambda f: {**f, PROMPTABLE_WEIGHTS: f[PROMPTABLE_WEIGHTS][:-1] + b"\1"}, "has SHA-256"),
    "pickle": (replace_prompt_weights(lambda: pickle.dumps({})), f"{PROMPTABLE_WEIGHTS} is a pickle"),
    "torch file": (replace_prompt_weights(pack_pickle), f"{PROMPTABLE_WEIGHTS} holds no safetensors"),
    "checkpoint beside it": (lambda f: {**f, "checkpoint_final.pth": pack_pickle()}, "may hold a pickle"),
    "NaN": (
        lambda f: list_again({**f, PROMPTABLE_WEIGHTS: set_nan(f, load(f[PROMPTABLE_WEIGHTS]))}),
        "has values that are not finite",
    ),
    "other channels": (change_promptable(network={"input_channels": 2}), "expected 8 input and 2 output channels"),
    "too many features": (change_promptable(network={"features_per_stage": [512] * 2}), "more weights than the file"),
    "patch that does not fit": (change_promptable(patch_size=[65, 64, 64]), "patch_size .* expected multiples of"),
    "patch that is too small": (change_promptable(patch_size=[32, 64, 64]), "of nninteractive, expected 49 or more"),
    "patch that no memory holds": (change_promptable(patch_size=[2**20] * 3), "of nninteractive takes at least"),
    "points that no memory holds": (
        change_promptable(prompts={"point_radius": 10**9, "decay": 0.9}),
        "point_radius 1000000000, expected at most",
    ),
    "no licence": (change_promptable(licence=""), "licence"),
}


@pytest.mark.parametrize("name", PROMPTABLES)
def test_a_promptable_model_of_another_content_is_refused(name: str, tmp_path: Path) -> None:
    change, message = PROMPTABLES[name]
    files = read_files(write_model(tmp_path / "good.zip", promptable=PROMPTABLE))
    write_files(tmp_path / "bad.zip", change(files))
    refuse(tmp_path / "bad.zip", message)


def refuse(path: Path, message: str) -> None:
    """Expect one error that begins with the archive, and no other file than before."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ModelError, match=message) as caught, open_model(path) as model:
        model.verify()
    assert str(caught.value).startswith(str(path))
    assert sorted(path.parent.rglob("*")) == before


def add_entry(path: Path, entry: zipfile.ZipInfo, content: bytes = b"/etc/passwd") -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, content)


def add_symbolic_link(path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    add_entry(path, entry)


def add_hard_link(path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.extra = struct.pack("<HHIIHH", 0x0D, 23, 0, 0, 0, 0) + b"/etc/passwd"
    add_entry(path, entry, b"")


def add_pipe(path: Path) -> None:
    entry = zipfile.ZipInfo("pipe")
    entry.create_system, entry.external_attr = 3, 0o010644 << 16
    add_entry(path, entry, b"")


def make_bomb(path: Path) -> None:
    files = read_files(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, bytes(50 * 2**20) if name == WEIGHTS else content)


def make_huge(path: Path) -> None:
    """Declare a size that no disk has, with a size of the compressed bytes to match."""
    declare(path, WEIGHTS, size=2**32 - 2, compressed=2**32 - 2)


def declare(path: Path, name: str, *, size: int, compressed: int) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
    content[at + 20 : at + 28] = struct.pack("<II", compressed, size)
    path.write_bytes(content)


def make_huge_json(path: Path) -> None:
    write_files(path, list_again({**read_files(path), DESCRIPTION: b" " * (SMALL_BYTES + 1)}))


def make_huge_manifest(path: Path) -> None:
    write_files(path, {**read_files(path), MANIFEST: b" " * (SMALL_BYTES + 1)})


def set_flag(path: Path, flag: int) -> None:
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.rindex(mark)
        content[at + offset] |= flag
    path.write_bytes(content)


def rename_badly(path: Path, *, flag: int) -> None:
    """Give an entry a name in Latin-1, with or without the bit that says UTF-8."""
    add_entry(path, zipfile.ZipInfo("cafX"), b"x")
    path.write_bytes(path.read_bytes().replace(b"cafX", b"caf\xe9"))
    set_flag(path, 0)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        content[content.rindex(mark) + offset] = flag
    path.write_bytes(content)


def add_twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        add_entry(path, zipfile.ZipInfo(LICENCE), b"other")


def truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)


def move_header(path: Path) -> None:
    """Let the directory of the archive point to before the file's beginning."""
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    # a directory that claims to be longer moves everything that it points to
    content[end + 12 : end + 16] = struct.pack("<I", int.from_bytes(content[end + 12 : end + 16], "little") + 46)
    path.write_bytes(content)


def point_outside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 42 : at + 46] = struct.pack("<I", 2**31)
    path.write_bytes(content)


def make_tar(path: Path) -> None:
    files = read_files(path)
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, BytesIO(text))


ARCHIVES: dict[str, tuple[Callable[[Path], None], str]] = {
    "symbolic link": (add_symbolic_link, "'link' is a symbolic link"),
    "hard link": (add_hard_link, "'link' is a hard link"),
    "pipe": (add_pipe, "'pipe' is a device or pipe"),
    "bomb by ratio": (make_bomb, "a zip bomb"),
    "bomb by size": (make_huge, "too many for a model"),
    "huge JSON": (make_huge_json, r"model\.json has 4194305 bytes, expected at most 4194304"),
    "huge manifest": (make_huge_manifest, r"manifest\.json has 4194305 bytes"),
    "encrypted": (lambda p: set_flag(p, 1), "is encrypted"),
    "name that is not UTF-8": (lambda p: rename_badly(p, flag=0), "a name that is not UTF-8"),
    "name that only claims to be UTF-8": (lambda p: rename_badly(p, flag=8), "a file name is not UTF-8"),
    "duplicate entry": (add_twice, "'LICENSE' is there twice"),
    "truncated at the end": (lambda p: truncate(p, 0.99), "no zip file, or a truncated one"),
    "truncated in the middle": (lambda p: truncate(p, 0.4), "no zip file, or a truncated one"),
    "empty": (lambda p: truncate(p, 0), "no zip file, or a truncated one"),
    "damaged": (damage, "is damaged"),
    "directory that is too long": (move_header, "is damaged"),
    "entry outside of the file": (point_outside, "is damaged: 'manifest.json' lies outside of the file"),
    "tar": (make_tar, "no zip file"),
    "text": (lambda p: p.write_text("hello") and None, "no zip file"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_is_refused(name: str, tmp_path: Path) -> None:
    change, message = ARCHIVES[name]
    path = write_model(tmp_path / "bad.zip")
    change(path)
    refuse(path, re.escape(message) if "\\" not in message else message)


@pytest.mark.parametrize("name", [LICENCE, WEIGHTS, "weights"])
def test_a_folder_with_a_link_is_refused(name: str, tmp_path: Path) -> None:
    write_files_into(tmp_path / "m", read_files(write_model(tmp_path / "a.zip")))
    (tmp_path / "m" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "m" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=f"{name} is a symbolic link"):
        open_folder(tmp_path / "m").verify()


def write_files_into(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_weights_of_another_plan_are_refused() -> None:
    plan: Plan = make_network_plan()
    wider = plan.model_copy(update={"network": plan.network.model_copy(update={"features_per_stage": (4, 12)})})
    with pytest.raises(ModelError, match=r"^w: .* has shape"):
        unpack_weights(wider, pack_weights(plan, make_weights(plan)), source="w")
