import json
from pathlib import Path

import pytest

from mspn.training.environment import read_sessions
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set

NARROW = ("model.stem_channels=8", "model.up_channels=8", "model.input_size=[64, 64]", "data.validation=null")
TRAINING = ("data.workers=0", "train.batch_size=2", "train.iterations=2", "train.precision=float32")


def options(*settings: str) -> list[str]:
    return [word for setting in (*NARROW, *settings) for word in ("--set", setting)]


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Two sets of drawn people, four and two."""
    write_drawn_set(tmp_path / "many", num_images=2, people_per_image=2)
    write_drawn_set(tmp_path / "few", num_images=2, seed=1)
    return options(
        f"data.root={tmp_path}", "data.train=[many/annotations.json, {annotations: few/annotations.json, weight: 2}]"
    )


def test_packed_people_train_without_their_photos(sets: list[str], tmp_path: Path):
    packed = run("data", "pack", "mspn-2", "--out", tmp_path / "people.zip", *sets)
    (tmp_path / "many").rename(tmp_path / "elsewhere")

    trained = run(
        *("train", "mspn-2", "--out", tmp_path / "run"), *options(f"data.train={tmp_path / 'people.zip'}", *TRAINING)
    )

    assert packed.exit_code == 0, packed.output
    assert packed.stdout.startswith(f"{tmp_path / 'people.zip'}: 6 people, 0.0 MB (resolution 2 of the widest crop")
    assert trained.exit_code == 0, trained.output
    (session,) = read_sessions(tmp_path / "run")
    assert [(labels.images, labels.people) for labels in session.data] == [(4, 4), (2, 2)]
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["data"]["train"][0]["subset"] is None


def test_a_file_that_is_there_is_not_replaced(sets: list[str], tmp_path: Path):
    (tmp_path / "people.zip").write_text("precious")

    line = error_line(run("data", "pack", "mspn-2", "--out", tmp_path / "people.zip", *sets))

    assert line.endswith("people.zip is there already; choose another --out")
    assert (tmp_path / "people.zip").read_text() == "precious"


def test_a_photo_that_cannot_be_read_is_told_and_the_others_are_packed(sets: list[str], tmp_path: Path):
    (tmp_path / "few" / "images" / "000000000002.png").unlink()

    result = run("data", "pack", "mspn-2", "--out", tmp_path / "people.zip", *sets)

    assert result.exit_code == 1
    assert "people.zip: 5 people" in result.stdout
    assert "skipped: no image at" in result.stderr
    assert result.stderr.strip().endswith("1 photos could not be used, see above")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mspn-tiny", "--out", "people.tar"), "people.tar must end in .zip"),
        (("person-detector", "--out", "people.zip"), "only crops of pose networks can be packed"),
        (("mspn-tiny", "--out", "a.zip", "--set", "data.train=[]"), "mspn-tiny has no set to pack"),
        (("mspn-tiny", "--out", "a.zip", "--set", "data.train=b.zip"), "b.zip is packed already"),
        (("mspn-tiny", "--out", "a.zip", "--set", "data.train=b.json"), "no labels at data/b.json"),
    ],
)
def test_what_cannot_be_packed_is_refused(arguments: tuple[str, ...], message: str):
    assert message in error_line(run("data", "pack", *arguments))
