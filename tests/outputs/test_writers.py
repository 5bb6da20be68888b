import re
from pathlib import Path

import pytest

from mspn.errors import InvalidValueError
from mspn.outputs import (
    DRAWING_WRITERS,
    WRITERS,
    WriterSettings,
    has_results,
    make_writer,
    prepare_results,
    remove_results,
)
from mspn.outputs.journal import Journal
from mspn.structures.skeleton import COCO_17
from mspn.visualize.themes import THEMES
from tests.outputs.results import a_video, of_frame, of_image, unreadable


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_takes_images_frames_and_what_cannot_be_read(tmp_path: Path, name: str):
    pytest.importorskip({"parquet": "pyarrow", "video": "av"}.get(name, "json"))
    writer = make_writer(name, tmp_path, WriterSettings(theme=THEMES["people"]))

    writer.write(of_image("a.jpg"))
    writer.write(unreadable("b.jpg"))
    writer.write(of_image("c.jpg", poses=[]))
    writer.write(of_frame(a_video("match.mp4"), 0, 0.0))
    writer.close()

    assert list(tmp_path.iterdir())
    assert any((tmp_path / path).exists() for path in WRITERS[name].paths)


def test_writers_that_draw_are_writers():
    assert set(DRAWING_WRITERS) < set(WRITERS)


def _write_run(folder: Path, names: list[str], outputs: list[str]) -> None:
    with Journal(folder, {}, COCO_17, resume=False, outputs=outputs) as journal:
        for output in outputs:
            writer = make_writer(output, folder)
            for name in names:
                writer.write(of_image(name))
                journal.append(of_image(name))
            writer.close()


def test_results_are_removed_and_nothing_else(tmp_path: Path):
    _write_run(tmp_path, ["a.jpg"], ["json", "csv", "yolo", "images"])
    (tmp_path / "yolo" / "images").mkdir()
    for name in ("notes.txt", "yolo/images/a.jpg"):
        (tmp_path / name).touch()
    assert has_results(tmp_path)

    remove_results(tmp_path)

    assert not has_results(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["notes.txt", "yolo/images/a.jpg"]


def test_folders_that_no_run_has_written_stay(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").touch()
    assert not has_results(tmp_path)
    _write_run(tmp_path, ["a.jpg"], ["json"])

    remove_results(tmp_path)

    assert [path.name for path in tmp_path.rglob("*.*")] == ["mine.jpg"]


@pytest.mark.parametrize("target", ["photos", "gone"])
def test_links_that_no_run_has_written_to_stay(tmp_path: Path, target: str):
    (tmp_path / "photos").mkdir()
    for link in ("images", "videos"):
        (tmp_path / link).symlink_to(tmp_path / target)

    remove_results(tmp_path)
    _write_run(tmp_path, ["a.jpg"], ["json"])
    remove_results(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"photos", "images", "videos"}


def test_a_link_that_drawings_went_through_is_removed_without_what_it_leads_to(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "disk")
    _write_run(tmp_path, ["a.jpg"], ["images"])

    remove_results(tmp_path)

    assert [path.name for path in tmp_path.rglob("*")] == ["disk", "a.jpg"]


@pytest.mark.parametrize("source", ["images", "images/a.jpg", "images/*.jpg", "photos"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_source_where_results_go_is_refused_before_and_after_the_first_run(
    tmp_path: Path, source: str, *, resume: bool
):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "images").symlink_to(tmp_path / "photos")

    for _ in range(2):
        with pytest.raises(InvalidValueError, match=rf"{re.escape(source)} is where .* has its results; choose anoth"):
            prepare_results(tmp_path, [str(tmp_path / source)], [], resume=resume, overwrite=False)
        _write_run(tmp_path, ["b.jpg"], ["json"])

    assert (tmp_path / "images" / "a.jpg").exists()


@pytest.mark.parametrize("had_run", [False, True])
def test_no_drawings_go_into_a_folder_of_others_which_overwriting_would_remove(tmp_path: Path, *, had_run: bool):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").touch()
    if had_run:
        _write_run(tmp_path, ["a.jpg"], ["json"])

    with pytest.raises(InvalidValueError, match="images already holds files, which are no results; choose another"):
        prepare_results(tmp_path, [], ["json", "images"], resume=had_run, overwrite=not had_run)

    prepare_results(tmp_path, [], ["json"], resume=had_run, overwrite=not had_run)
    assert (tmp_path / "images" / "mine.jpg").exists()


def test_a_link_to_itself_is_no_reason_to_refuse_a_run(tmp_path: Path):
    for name in ("images", "loop.jpg"):
        (tmp_path / name).symlink_to(tmp_path / name)

    prepare_results(tmp_path, [str(tmp_path / "loop.jpg")], [], resume=False, overwrite=False)

    assert (tmp_path / "images").is_symlink()


def test_a_run_without_images_and_an_empty_folder_are_no_results(tmp_path: Path):
    assert not has_results(tmp_path)

    _write_run(tmp_path, [], ["json"])

    assert not has_results(tmp_path)


def test_results_without_a_journal_are_results(tmp_path: Path):
    (tmp_path / "coco.json").write_text("[]")

    assert has_results(tmp_path)


def test_an_output_that_a_damaged_journal_names_is_refused(tmp_path: Path):
    with pytest.raises(InvalidValueError, match=r"no output 'jcsv', of --save or .*progress\.jsonl; there are json,"):
        make_writer("jcsv", tmp_path)
