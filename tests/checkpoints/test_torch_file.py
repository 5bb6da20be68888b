import codecs
import io
import os
import pickle
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mspn.checkpoints import torch_file
from mspn.checkpoints.torch_file import read_torch_file
from mspn.errors import WeightsError


class _MakesAFolder:
    """When unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_tensors_are_read_from_beside_the_tables_that_mmpose_keeps(tmp_path: Path):
    # MMPose 1.x publishes its data set's description with the network.
    description = {"name": "coco", "sigmas": np.array([0.026, 0.025]), "colors": np.ones((2, 3), np.uint8)}
    meta = {"epoch": 210, "dataset_meta": description, "best": np.float64(0.718), "names": np.array(["a", "b"])}
    torch.save({"state_dict": {"weight": torch.arange(3.0)}, "meta": meta}, tmp_path / "mmpose.pth")

    content = read_torch_file(tmp_path / "mmpose.pth")

    assert torch.equal(content["state_dict"]["weight"], torch.tensor([0.0, 1.0, 2.0]))
    assert content["meta"]["epoch"] == 210
    assert not isinstance(content["meta"]["dataset_meta"]["sigmas"], np.ndarray)


def test_curves_of_mmengine_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    buffer = type("HistoryBuffer", (), {"__module__": names[-1]})
    monkeypatch.setattr(sys.modules[names[-1]], "HistoryBuffer", buffer, raising=False)
    curve = buffer()
    curve.max_length, curve.log = 1000, np.zeros(4)
    torch.save({"state_dict": {"weight": torch.ones(2)}, "message_hub": {"loss": curve}}, tmp_path / "epoch.pth")

    content = read_torch_file(tmp_path / "epoch.pth")

    assert torch.equal(content["state_dict"]["weight"], torch.ones(2))
    assert vars(content["message_hub"]["loss"]) == {}


@pytest.mark.parametrize("plain", [False, True], ids=["torch", "pickle"])
def test_code_in_an_array_is_refused_and_never_runs(plain: bool, tmp_path: Path):
    trap, path = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"meta": np.array([_MakesAFolder(trap)], dtype=object)}
    path.write_bytes(pickle.dumps(content)) if plain else torch.save(content, path)

    with pytest.raises(WeightsError, match=r"evil\.pth (wants to run posix\.mkdir|is damaged)"):
        read_torch_file(path)

    assert not trap.exists()


def test_what_is_let_through_is_forgotten_afterwards(tmp_path: Path):
    torch.save({"array": np.zeros(2)}, tmp_path / "arrays.pth")

    read_torch_file(tmp_path / "arrays.pth")

    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "arrays.pth", weights_only=True)


class _Call:
    """Pickled, it asks for a call of a function with these arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _write_zip(path: Path, content: bytes, data: bytes = b"", compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as torch writes it, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, part in {"data.pkl": content, "version": b"3\n", "byteorder": b"little", "data/0": data}.items():
            archive.writestr(f"archive/{name}", part)
    return path


_MADE_OF_NOTHING = {
    "bytearray": _Call(bytearray, 3_000_000_000),
    "tensor": _Call(torch.Tensor, 1_000_000_000),
    "counter": _Call(Counter, "abc"),
}


@pytest.mark.parametrize("name", _MADE_OF_NOTHING)
def test_what_would_be_made_by_a_number_in_the_file_is_refused_by_its_name(name: str, tmp_path: Path):
    path = _write_zip(tmp_path / "small.pth", pickle.dumps({"state_dict": _MADE_OF_NOTHING[name]}, protocol=2))

    with pytest.raises(
        WeightsError, match=rf"small\.pth wants to run \S*(?i:{name}) when it is read, which is refused"
    ):
        read_torch_file(path)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "older than torch 1.6"])
def test_a_tensor_of_more_numbers_than_its_storage_is_refused(is_zip: bool, tmp_path: Path):
    wide = torch.zeros(1).expand(40, 30)
    torch.save({"weight": wide}, tmp_path / "wide.pth", _use_new_zipfile_serialization=is_zip)

    with pytest.raises(WeightsError, match=r"wide\.pth has tensors that show the same numbers again and again"):
        read_torch_file(tmp_path / "wide.pth")


def test_tensors_may_share_their_numbers_by_two_but_not_by_hundreds(tmp_path: Path):
    numbers = torch.arange(6.0)
    torch.save({"one": numbers, "tied": numbers.view(2, 3)}, tmp_path / "tied.pth")
    torch.save({str(copy): numbers for copy in range(300)} | {"last": numbers.view(2, 3)}, tmp_path / "shared.pth")
    torch.save([numbers.view(6 if copy % 2 else (2, 3)) for copy in range(3)], tmp_path / "thrice.pth")

    assert torch.equal(read_torch_file(tmp_path / "tied.pth")["tied"], torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))
    # The same tensor under 300 names is one; what refers to it takes no memory.
    assert len(read_torch_file(tmp_path / "shared.pth")) == 301
    with pytest.raises(WeightsError, match="again and again"):
        read_torch_file(tmp_path / "thrice.pth")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "older than torch 1.6"])
def test_a_storage_of_more_numbers_than_the_file_has_is_refused(is_zip: bool, tmp_path: Path):
    # 1 number, of which the pickle says that there are 77,000,000: little-endian after a J.
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(300)}, file, _use_new_zipfile_serialization=is_zip)
    count = b"M" + (300).to_bytes(2, "little")
    content = file.getvalue()
    if is_zip:
        content = zipfile.ZipFile(file).read("archive/data.pkl")
    assert content.count(count) >= 1
    content = content.replace(count, b"J" + (77_000_000).to_bytes(4, "little"))
    path = tmp_path / "huge.pth"
    _write_zip(path, content, bytes(1200)) if is_zip else path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"huge\.pth describes more numbers than it holds"):
        read_torch_file(path)


def test_compressed_parts_that_unpack_to_more_than_the_file_are_refused(tmp_path: Path):
    path = _write_zip(tmp_path / "bomb.pth", pickle.dumps({}, 2), bytes(10_000_000), zipfile.ZIP_DEFLATED)

    with pytest.raises(WeightsError, match=r"bomb\.pth unpacks to more than it holds"):
        read_torch_file(path)


def test_one_text_that_is_made_into_bytes_a_thousand_times_is_refused(tmp_path: Path):
    text = "a" * 10_000
    content = [_Call(codecs.encode, text, "latin1") for _ in range(1000)]
    path = _write_zip(tmp_path / "again.pth", pickle.dumps(content, 2))

    with pytest.raises(WeightsError, match=r"again\.pth has the same part again and again"):
        read_torch_file(path)


def test_one_table_that_is_made_into_tables_or_attributes_a_thousand_times_is_refused(tmp_path: Path):
    pairs = [(str(number), number) for number in range(1000)]
    attributes = dict(pairs)

    class WithAttributes(_Call):
        def __reduce__(self) -> tuple[Any, ...]:
            return OrderedDict, (), attributes

    for content in (
        [_Call(OrderedDict, pairs) for _ in range(1000)],
        [_Call(set, pairs) for _ in range(1000)],
        [WithAttributes(None) for _ in range(1000)],
    ):
        path = _write_zip(tmp_path / "again.pth", pickle.dumps(content, 2))

        with pytest.raises(WeightsError, match=r"again\.pth has the same part again and again"):
            read_torch_file(path)


def test_a_pickle_of_very_many_empty_lists_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # MARK, EMPTY_LIST again and again (a byte in the file, 64 in memory), LIST, STOP.
    path = _write_zip(tmp_path / "lists.pth", b"\x80\x02(" + b"]" * 4_000 + b"l.")
    assert torch_file._MAX_READS < 10_000_000
    monkeypatch.setattr(torch_file, "_MAX_READS", 4_000)

    with pytest.raises(WeightsError, match=r"lists\.pth has more than 4,000 parts"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text of two gigabytes
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\x00\x00N.",  # a frame of exabytes
        b"\x80\x02r\xff\xff\xff\x7f.",  # memo 2147483647 of an empty stack
        b"\x80\x02ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.",  # a storage of two gigabytes
        b"\x80\x02}(U\x01a\x85\x85ee.",
        b"",
    ],
    ids=["text", "frame", "memo", "storage", "stack", "nothing"],
)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "plain"])
def test_damaged_pickles_are_one_line(content: bytes, is_zip: bool, tmp_path: Path):
    path = tmp_path / "cut.pth"
    _write_zip(path, content) if is_zip else path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"cut\.pth is damaged, or no checkpoint; get a whole copy of it"):
        read_torch_file(path)


def test_training_states_are_read_as_they_were_written(tmp_path: Path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3, 4).T}},
        "param_groups": [{"lr": 0.1}],
    }
    parameter = torch.nn.Parameter(torch.ones(2))
    state = {
        **{"model": network.state_dict(), "optimizer": optimizer, "parameter": parameter},
        **{"random": torch.get_rng_state(), "half": torch.ones(2, dtype=torch.bfloat16), "size": torch.Size([1, 2])},
        "raw": b"bytes",
    }
    for is_zip in (True, False):
        torch.save(state, tmp_path / "state.pth", _use_new_zipfile_serialization=is_zip)

        read = read_torch_file(tmp_path / "state.pth")

        torch.testing.assert_close(read, state)
