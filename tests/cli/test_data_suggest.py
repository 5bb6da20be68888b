import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mspn.labels.formats import read_labels
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.trained import overfitted


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos with a person each, and their labels beside."""
    write_drawn_set(tmp_path, num_images=3)
    return tmp_path / "images"


def suggest(photos: Path, *arguments: object):
    _, weights = overfitted()
    return run(
        *("data", "suggest", photos, "--model", weights, "--boxes", photos.parent / "annotations.json"),
        *("--out", photos.parent / "next", "--device", "cpu", "--precision", "float32", *arguments),
    )


def test_tasks_for_label_studio_come_back_as_labels(photos: Path):
    result = suggest(photos, "--count", 2)

    assert result.exit_code == 0, result.output
    out = photos.parent / "next"
    assert f"{out / 'tasks.json'}: 2 pre-labeled in 2 of 3 photos" in result.stdout
    tasks = json.loads((out / "tasks.json").read_text())
    names = (out / "photos.txt").read_text().split()
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d=images/{name}" for name in names]
    scores = [task["predictions"][0]["score"] for task in tasks]
    assert scores == sorted(scores)
    # What Label Studio exports has annotations; a prediction that is accepted is one.
    accepted = [task | {"annotations": task["predictions"], "id": number} for number, task in enumerate(tasks)]
    (out / "export.json").write_text(json.dumps(accepted))
    labels = read_labels(out / "export.json")
    assert [image.file_name for image in labels.images] == [f"images/{name}" for name in names]
    assert labels.skeleton.name == "coco-17"


def test_the_labeling_interface_has_the_names_of_the_tasks(photos: Path):
    suggest(photos)

    out = photos.parent / "next"
    view = ElementTree.parse(out / "labeling-interface.xml").getroot()
    regions = json.loads((out / "tasks.json").read_text())[0]["predictions"][0]["result"]
    controls = {control.get("name"): control for control in view}
    for region in regions:
        control = controls[region["from_name"]]
        (label,) = region["value"][region["type"]]
        assert control.tag.lower() == region["type"]
        assert control.get("toName") == region["to_name"] == "image"
        assert label in [value.get("value") for value in control]
    assert controls["image"].get("value") == "$image"


def test_cvat_reads_what_is_written_for_it(photos: Path):
    result = suggest(photos, "--to", "cvat")

    assert result.exit_code == 0, result.output
    labels = read_labels(photos.parent / "next" / "annotations.xml")
    assert (len(labels.images), len(labels.people)) == (3, 3)


def test_photos_that_are_labeled_are_left_out(photos: Path):
    labels = photos.parent / "labels.json"
    first, second = "000000000001.png", "000000000002.png"
    labels.write_text(
        json.dumps(
            [
                {"id": 1, "data": {"image": f"/data/upload/1/1234abcd-{first}"}, "annotations": []},
                {
                    "id": 2,
                    "data": {"image": f"/data/local-files/?d=images/{second}"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "id": "a",
                                    "type": "keypointlabels",
                                    "original_width": 120,
                                    "original_height": 160,
                                    "value": {"x": 5, "y": 5, "keypointlabels": ["nose"]},
                                }
                            ]
                        }
                    ],
                },
            ]
        )
    )

    suggest(photos, "--labels", labels)
    none_left = suggest(photos, "--labels", photos.parent / "annotations.json", "--to", "coco")

    assert (photos.parent / "next" / "photos.txt").read_text() == "000000000003.png\n"
    assert "all photos of" in error_line(none_left)


def test_a_photo_of_the_same_name_elsewhere_is_another(photos: Path):
    content = json.loads((photos.parent / "annotations.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"first/{image['file_name']}"
    labels = photos.parent / "labels.json"
    labels.write_text(json.dumps(content))

    suggest(photos, "--labels", labels)

    assert len((photos.parent / "next" / "photos.txt").read_text().split()) == 3


def test_photos_of_one_name_in_two_folders_are_told_apart(photos: Path):
    (photos / "a").mkdir()
    (photos / "000000000001.png").rename(photos / "a" / "000000000002.png")
    content = json.loads((photos.parent / "annotations.json").read_text())
    content["images"][0]["file_name"] = "a/000000000002.png"
    labels = photos.parent / "labels.json"
    labels.write_text(
        json.dumps({**content, "images": content["images"][:1], "annotations": content["annotations"][:1]})
    )

    suggest(photos, "--labels", labels)

    assert sorted((photos.parent / "next" / "photos.txt").read_text().split()) == [
        "000000000002.png",
        "000000000003.png",
    ]


def test_what_is_there_stays_and_a_damaged_photo_is_told(photos: Path):
    (photos / "000000000001.png").write_text("no image")

    result = suggest(photos)
    again = suggest(photos)
    unused = suggest(photos, "--to", "cvat", "--address", "/photos/")

    assert result.exit_code == 1
    assert "1 photos could not be used" in result.stderr
    assert error_line(again).endswith("tasks.json is there already; choose another --out")
    assert "--address is for --to label-studio" in error_line(unused)
