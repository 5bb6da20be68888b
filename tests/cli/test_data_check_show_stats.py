import json
from pathlib import Path
from typing import Any

from mspn.labels.label_table import KINDS
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set


def _drawn(folder: Path, **changes: Any) -> Path:
    """Six images of two figures; the changes are of the first one's annotation."""
    path = write_drawn_set(folder, num_images=6, people_per_image=2)
    content = json.loads(path.read_text())
    content["annotations"][0] |= changes
    path.write_text(json.dumps(content))
    return path


def test_check_finds_nothing_in_a_sound_set(tmp_path: Path):
    result = run("data", "check", _drawn(tmp_path), "--images", tmp_path / "images")

    assert result.exit_code == 0, result.output
    assert result.stdout == "12 people in 6 images: 0 errors, 0 warnings\n"


def test_check_groups_findings_says_what_to_do_and_ends_with_exit_code_1_after_errors(tmp_path: Path):
    labels = _drawn(tmp_path, area=0, num_keypoints=3)
    (tmp_path / "images" / "000000000002.png").unlink()

    result = run("data", "check", labels, "--images", tmp_path / "images", "--json", tmp_path / "findings.json")

    assert result.exit_code == 1
    assert "error bad_area: 1\n    000000000001.png, person 1: area 0\n    -> write the person's area" in result.stdout
    assert "error missing_image: 1" in result.stdout
    assert "warning wrong_count: 1" in result.stdout
    assert result.stdout.endswith("12 people in 6 images: 2 errors, 1 warnings\n")
    report = json.loads((tmp_path / "findings.json").read_text())
    assert report["counts"] == {"bad_area": 1, "missing_image": 1, "wrong_count": 1}
    assert report["findings"][1] == {
        "kind": "bad_area",
        "severity": "error",
        "image": "000000000001.png",
        "image_id": 1,
        "person_id": 1,
        "message": "area 0",
    }


def test_check_ends_with_exit_code_0_after_warnings(tmp_path: Path):
    result = run("data", "check", _drawn(tmp_path, num_keypoints=3), "--no-images")

    assert result.exit_code == 0
    assert "warning wrong_count: 1" in result.stdout


def test_crossed_ids_are_listed_by_check_and_refused_by_convert(tmp_path: Path):
    labels = _drawn(tmp_path, image_id=99)

    checked = run("data", "check", labels, "--no-images")
    converted = run("data", "convert", labels, tmp_path / "copy.json", "--to", "coco")

    assert "error unknown_image: 1\n    person 1: its image 99 is not in the labels" in checked.stdout
    assert "annotation of image_id 99, which is not among its images; see `mspn data check`" in error_line(converted)


def test_a_skeleton_of_one_s_own_names_keypoints_that_the_labels_do_not_name(tmp_path: Path):
    labels = _drawn(tmp_path)
    content = json.loads(labels.read_text())
    content["categories"] = [{"id": 1, "name": "person"}]
    labels.write_text(json.dumps(content))
    names = [f"vein_{number}" for number in range(17)]
    (tmp_path / "leaf.yaml").write_text(f"name: leaf\nkeypoints: {names}\n")

    result = run("data", "stats", labels, "--skeleton", tmp_path / "leaf.yaml")

    assert result.exit_code == 0, result.output
    assert "vein_16" in result.stdout
    assert "no file at nowhere.yaml; check the path" in error_line(
        run("data", "stats", labels, "--skeleton", "nowhere.yaml")
    )


def test_check_refuses_bad_input_with_one_line(tmp_path: Path):
    labels = _drawn(tmp_path)

    assert "--images DIR, or else --no-images" in error_line(run("data", "check", labels))
    assert "--images DIR, or else --no-images" in error_line(
        run("data", "check", labels, "--images", tmp_path, "--no-images")
    )
    assert "no folder at nowhere; --images is the folder" in error_line(
        run("data", "check", labels, "--images", "nowhere")
    )
    assert "nowhere.json" in error_line(run("data", "check", "nowhere.json", "--no-images"))


def test_show_draws_people_and_their_images(tmp_path: Path):
    result = run(
        *("data", "show", _drawn(tmp_path), "--images", tmp_path / "images", "--out", tmp_path / "out", "--limit", 5)
    )

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("5 of 12 people")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3
    assert len(list((tmp_path / "out" / "sheets").iterdir())) == 1


def test_show_draws_certain_people_or_one_kind_of_finding(tmp_path: Path):
    labels = _drawn(tmp_path, area=0)
    common = ("data", "show", labels, "--images", tmp_path / "images", "--out")

    chosen = run(*common, tmp_path / "chosen", "--person", 3, "--person", 12)
    found = run(*common, tmp_path / "found", "--only", "bad_area")

    assert chosen.stdout.startswith("2 of 2 people")
    assert sorted(path.name for path in (tmp_path / "chosen" / "images").iterdir()) == [
        "000000000002-2.jpg",
        "000000000006-6.jpg",
    ]
    assert found.stdout.startswith("1 of 1 people")


def test_show_finds_what_only_the_images_tell(tmp_path: Path):
    labels = _drawn(tmp_path)
    images = tmp_path / "images"
    (images / "000000000003.png").write_bytes((images / "000000000001.png").read_bytes())

    result = run("data", "show", labels, "--images", images, "--out", tmp_path / "out", "--only", "same_image")

    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["000000000003-3.jpg"]


def test_show_reports_a_bad_image_and_ends_with_exit_code_1(tmp_path: Path):
    labels = _drawn(tmp_path)
    (tmp_path / "images" / "000000000002.png").write_text("no image")

    result = run("data", "show", labels, "--images", tmp_path / "images", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "skipped: " in result.stderr
    assert len(list((tmp_path / "out" / "images").iterdir())) == 5


def test_show_refuses_bad_input_with_one_line(tmp_path: Path):
    common = ("data", "show", _drawn(tmp_path), "--images", tmp_path / "images", "--out", tmp_path / "out")

    assert f"there are {', '.join(KINDS)}" in error_line(run(*common, "--only", "odd"))
    assert "nobody to draw has these ids" in error_line(run(*common, "--person", 77))
    assert "nobody to draw with a finding of bad_area" in error_line(run(*common, "--only", "bad_area"))


def test_stats_prints_and_writes_what_a_set_holds(tmp_path: Path):
    result = run(
        *("data", "stats", _drawn(tmp_path), "--images", tmp_path / "images", "--json", tmp_path / "stats.json")
    )

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("6 images (0 without people), 12 people, 0 crowds\n")
    assert "left_shoulder    12 (100%)" in result.stdout
    numbers = json.loads((tmp_path / "stats.json").read_text())
    assert numbers["percentiles"] == [0, 5, 25, 50, 75, 95, 100]
    assert numbers["image_widths_px"] == [240] * 7
    assert numbers["keypoints"]["nose"] == {"visible": 12, "occluded": 0, "unlabeled": 0}
