import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mspn.checkpoints.format import load_checkpoint, read_metadata, save_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.model import ModelConfig
from mspn.config.protocol import ScoreCalibration
from mspn.config.recipe import Recipe, override
from mspn.config.recipes import find_recipe
from mspn.errors import FileError, WeightsError
from mspn.models import build_network
from mspn.models.mspn import MSPN
from tests.full_disk import full_disk

RECIPE = Recipe(
    name="tiny",
    skeleton="unnamed-3",
    model=ModelConfig(backbone="resnet18", num_stages=2, stem_channels=4, up_channels=6, num_keypoints=3),
)
HEADER = CheckpointMetadata(
    recipe=RECIPE, data=("sports", "studio"), license="Apache-2.0", results={"sports": 0.625}, notes="drawn"
)


@pytest.fixture
def network() -> MSPN:
    torch.manual_seed(1)
    return MSPN(RECIPE.model)


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: CheckpointMetadata = HEADER) -> Path:
    save_file(tensors, path, metadata={"mspn": metadata.model_dump_json()})
    return path


def test_a_network_and_its_header_come_back_as_they_were_saved(network: MSPN, tmp_path: Path):
    path = tmp_path / "weights.safetensors"

    save_weights(path, network, HEADER)
    loaded = load_checkpoint(path)

    assert loaded.metadata == HEADER
    assert loaded.model.config == RECIPE.model
    assert not loaded.model.training
    expected, actual = network.state_dict(), loaded.model.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_a_score_calibration_of_other_keypoints_is_refused(network: MSPN, tmp_path: Path):
    calibration = ScoreCalibration(slope=2.0, offsets=(0.0, 1.0), people=5)
    metadata = HEADER.model_copy(update={"score_calibration": calibration})
    path = save_tensors(tmp_path / "weights.safetensors", network.state_dict(), metadata)

    with pytest.raises(WeightsError, match="score_calibration is of 2 keypoints, the network has 3"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("rescoring", "is_calibrated", "expected"),
    [("mean", True, "weighted_mean"), ("mean", False, "mean"), ("box_only", True, "box_only")],
)
def test_calibrated_weights_of_format_2_rank_poses_by_their_scores(
    network: MSPN, tmp_path: Path, rescoring: str, is_calibrated: bool, expected: str
):
    calibration = ScoreCalibration(slope=2.0, offsets=(0.0, 1.0, 2.0), people=5) if is_calibrated else None
    metadata = HEADER.model_copy(
        update={
            "format": 2,
            "recipe": override(RECIPE, [f"test.rescoring={rescoring}"]),
            "score_calibration": calibration,
        }
    )
    path = save_tensors(tmp_path / "weights.safetensors", network.state_dict(), metadata)

    assert read_metadata(path).recipe.test.rescoring == expected


def test_weights_can_be_stored_in_half_precision_and_come_back_in_full(network: MSPN, tmp_path: Path):
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"

    save_weights(full, network, HEADER)
    save_weights(half, network, HEADER, dtype=torch.float16)
    loaded = load_checkpoint(half)

    assert half.stat().st_size < 0.6 * full.stat().st_size
    for name, tensor in network.state_dict().items():
        actual = loaded.model.state_dict()[name]
        assert actual.dtype == tensor.dtype
        assert torch.equal(actual, tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor)


def test_values_that_half_precision_cannot_hold_are_refused(network: MSPN, tmp_path: Path):
    network.stem.conv.norm.running_var.fill_(1e6)

    with pytest.raises(WeightsError, match=r"stem\.conv\.norm\.running_var"):
        save_weights(tmp_path / "half.safetensors", network, HEADER, dtype=torch.float16)


def test_saving_leaves_the_network_as_it_was(network: MSPN, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    save_weights(tmp_path / "half.safetensors", network, HEADER, dtype=torch.float16)

    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training


def test_a_header_can_be_read_alone(network: MSPN, tmp_path: Path):
    save_weights(tmp_path / "weights.safetensors", network, HEADER)

    assert read_metadata(tmp_path / "weights.safetensors") == HEADER


def test_weights_of_a_network_on_channels_last_memory_can_be_saved(network: MSPN, tmp_path: Path):
    path = tmp_path / "weights.safetensors"

    save_weights(path, network.to(memory_format=torch.channels_last), HEADER)

    stem = "stem.conv.conv.weight"
    assert torch.equal(load_checkpoint(path).model.state_dict()[stem], network.state_dict()[stem])


@pytest.mark.parametrize("read", [read_metadata, load_checkpoint])
def test_missing_weights_are_refused(read, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.safetensors; check the path, or name a model of"):
        read(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("read", [read_metadata, load_checkpoint])
def test_a_pickle_is_refused_with_the_way_to_convert_it(read, tmp_path: Path):
    path = tmp_path / "weights.pth"
    torch.save({"model": {}}, path)

    with pytest.raises(
        WeightsError, match=r"weights\.pth is not a safetensors file .*convert .* with `mspn models convert`"
    ):
        read(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"{}"], ids=["empty", "zeros", "json"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_checkpoint(path)


def test_a_file_that_is_cut_short_is_refused(network: MSPN, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, network, HEADER)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_checkpoint(path)


def test_safetensors_without_our_header_are_refused(tmp_path: Path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)

    with pytest.raises(WeightsError, match=r"other\.safetensors has no metadata of mspn; convert external weights"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "header",
    [
        "not json",
        '{"recipe": {"name": "x", "color": "red"}}',
        "[" * 100_000,
        '{"notes": "\\ud800"}',
        "1" * 5000,
        "null",
    ],
    ids=["no json", "unknown", "deep", "half a character", "long number", "null"],
)
def test_metadata_that_cannot_be_read_are_refused(header: str, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"mspn": header})

    with pytest.raises(WeightsError, match=r"weights\.safetensors: its metadata (cannot be read|are damaged)"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("input_size", [131_072, 98_304]),
        ("input_size", [1056, 32]),
        ("num_stages", 17),
        ("stem_channels", 2**40),
        ("up_channels", 2**20),
        ("num_keypoints", 10**9),
    ],
)
def test_metadata_that_ask_for_absurd_sizes_are_refused_before_anything_is_built(
    setting: str, value: object, tmp_path: Path
):
    metadata = json.loads(HEADER.model_dump_json())
    metadata["recipe"]["model"][setting] = value
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"mspn": json.dumps(metadata)})

    for read in (read_metadata, load_checkpoint):
        with pytest.raises(
            WeightsError, match=rf"cannot be read by this version: recipe\.model\.{setting}: .*(1024|16|4096)"
        ):
            read(path)


def test_a_header_of_many_megabytes_is_refused_before_it_is_parsed(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"mspn": "[" + "[]," * 3_000_000})

    with pytest.raises(WeightsError, match=r"has a header of 9,\d{3},\d{3} bytes; it is no weights file of a network"):
        read_metadata(path)


def test_a_file_that_lacks_a_tensor_is_refused(network: MSPN, tmp_path: Path):
    tensors = network.state_dict()
    del tensors["stem.conv.norm.bias"]
    path = save_tensors(tmp_path / "weights.safetensors", tensors)

    with pytest.raises(WeightsError, match=r"lacks tensor 'stem\.conv\.norm\.bias'; it does not fit its own metadata"):
        load_checkpoint(path)


def test_a_file_with_an_unknown_tensor_is_refused(network: MSPN, tmp_path: Path):
    path = save_tensors(tmp_path / "weights.safetensors", network.state_dict() | {"extra": torch.zeros(1)})

    with pytest.raises(WeightsError, match="has the unknown tensor 'extra'; it does not fit its own metadata"):
        load_checkpoint(path)


def test_a_tensor_of_another_shape_is_refused(network: MSPN, tmp_path: Path):
    path = save_tensors(
        tmp_path / "weights.safetensors", network.state_dict() | {"stem.conv.norm.bias": torch.zeros(5)}
    )

    message = r"tensor 'stem\.conv\.norm\.bias' is \(5,\), its metadata say \(4,\)"
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(path)


def test_where_data_and_initial_weights_lay_is_left_out(tmp_path: Path):
    settings = [
        "data.root=/home/ada/data",
        "train.initial_weights=/home/ada/net.pth",
        "data.train=[{annotations: /home/ada/a.json, images: /home/ada/photos}]",
        "data.validation={annotations: val/b.json, images: /home/ada/photos}",
    ]
    recipe = override(find_recipe("mspn-tiny"), settings)

    save_weights(tmp_path / "w.safetensors", build_network(recipe.model), CheckpointMetadata(recipe=recipe))

    kept = read_metadata(tmp_path / "w.safetensors").recipe
    assert (kept.data.root, kept.train.initial_weights) == ("data", "net.pth")
    (trained,) = kept.data.train
    assert (trained.annotations, trained.images) == ("a.json", "photos")
    assert kept.data.validation is not None
    assert (kept.data.validation.annotations, kept.data.validation.images) == ("val/b.json", "photos")
    assert b"/home/ada" not in (tmp_path / "w.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(float("nan"), torch.float16), (float("inf"), torch.bfloat16), (1e300, torch.float64)],  # the last overflows
)
def test_weights_that_are_not_finite_as_the_network_holds_them_are_refused(
    network: MSPN, tmp_path: Path, value: float, dtype: torch.dtype
):
    tensors = network.state_dict()
    name = next(iter(tensors))
    tensors[name] = torch.full(tensors[name].shape, value, dtype=dtype)

    with pytest.raises(WeightsError, match=f"tensor '{name}' has values that are not finite numbers"):
        load_checkpoint(save_tensors(tmp_path / "weights.safetensors", tensors))


def test_a_full_disk_names_the_file_and_leaves_the_earlier_one(network: MSPN, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"earlier")

    with (
        full_disk(1000),
        pytest.raises(FileError, match=r"could not write .*weights\.safetensors \(.*\); is there room"),
    ):
        save_weights(path, network, HEADER)

    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    assert path.read_bytes() == b"earlier"
