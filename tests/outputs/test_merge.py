import json
from pathlib import Path

import pytest

from mspn.errors import InvalidValueError, MissingFileError
from mspn.outputs import WriterSettings, make_writer, merge_results
from mspn.outputs.journal import JOURNAL_FILE, Journal, JournalReader
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard
from mspn.structures.skeleton import COCO_17
from tests.outputs.results import a_video, of_frame, of_image

OUTPUTS = ("json", "jsonl", "coco", "csv", "yolo")
_VIDEO = a_video("in/match.mp4")
RESULTS = [
    *([of_image("in/a.jpg")], [of_image("in/b.jpg", poses=[])]),
    *([of_frame(_VIDEO, 0, 0.0), of_frame(_VIDEO, 1, 0.04)], [of_image("in/sub/c.jpg")], [of_image("in/d.jpg")]),
]
"""By source."""


def _run(
    folder: Path,
    sources: list[list[ImageResult]],
    shard: Shard = WHOLE,
    *,
    outputs: tuple[str, ...] = OUTPUTS,
    **more: object,
) -> Path:
    """Write what a run of these sources, or a shard of it, writes."""
    folder.mkdir()
    settings = {"threshold": 0.3, "shard": str(shard)} | more
    base = Path("in")
    with Journal(folder, settings, COCO_17, resume=False, outputs=outputs, source_folder=base) as journal:
        writers = [make_writer(name, folder, WriterSettings(base, shard=shard)) for name in outputs]
        for number, results in shard.take(enumerate(sources)):
            journal.begin_source(results[0].source, number)
            for result in results:
                for writer in writers:
                    writer.write(result)
                journal.append(result)
        for writer in writers:
            writer.close()
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_joined_shards_are_what_one_run_writes(tmp_path: Path):
    whole = _run(tmp_path / "whole", RESULTS)
    shards = [_run(tmp_path / f"shard-{number}", RESULTS, Shard(number, 3)) for number in (3, 1, 2)]

    missing = merge_results(shards, tmp_path / "joined")

    assert missing == []
    assert _files(tmp_path / "joined") == _files(whole)


def test_missing_shards_are_named_and_the_others_joined(tmp_path: Path):
    shards = [_run(tmp_path / f"shard-{number}", RESULTS, Shard(number, 4)) for number in (4, 2)]

    missing = merge_results(shards, tmp_path / "joined", ["json"])

    assert missing == [Shard(1, 4), Shard(3, 4)]
    rows = json.loads((tmp_path / "joined" / "predictions.json").read_text())
    assert [row["source"] for row in rows] == ["in/b.jpg", "in/sub/c.jpg"]


def test_runs_are_joined_one_after_the_other_and_keep_the_first_of_an_image(tmp_path: Path):
    first = _run(tmp_path / "1", [RESULTS[0], RESULTS[1]])
    second = _run(tmp_path / "2", [[of_image("in/a.jpg", poses=[])], RESULTS[4]])

    merge_results([first, second], tmp_path / "joined", ["json", "coco"])

    rows = json.loads((tmp_path / "joined" / "predictions.json").read_text())
    assert [(row["source"], len(row["people"])) for row in rows] == [("in/a.jpg", 1), ("in/b.jpg", 0), ("in/d.jpg", 1)]
    assert [row["image_id"] for row in json.loads((tmp_path / "joined" / "coco.json").read_text())] == [1, 3]
    assert JournalReader(tmp_path / "joined").number_of("in/d.jpg") == 3


def test_drawn_images_are_copied_and_none_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = _run(tmp_path / "1", [RESULTS[0], RESULTS[3]], outputs=("images",))
    second = _run(tmp_path / "2", [[of_image("in/a.png")]], outputs=("images",))

    merge_results([first, second], tmp_path / "joined")

    names = {name for name in _files(tmp_path / "joined") if name.startswith("images/")}
    assert names == {"images/a.jpg", "images/sub/c.jpg", "images/a-2.jpg"}
    assert "there is another of its name" in caplog.text


def test_what_cannot_be_joined_is_refused(tmp_path: Path):
    one = _run(tmp_path / "1", RESULTS, Shard(1, 2))
    (tmp_path / "empty").mkdir()
    refused: list[tuple[list[Path], str]] = [
        ([one, _run(tmp_path / "2", RESULTS, Shard(2, 2), threshold=0.5)], "results of different threshold"),
        (
            [one, _run(tmp_path / "3", RESULTS, Shard(2, 3))],
            "is shard 1/2 and .* is shard 2/3; only shards of the same",
        ),
        ([one, _run(tmp_path / "4", RESULTS, Shard(1, 2))], "both are shard 1/2; name each shard once"),
    ]
    for folders, message in refused:
        with pytest.raises(InvalidValueError, match=message):
            merge_results(folders, tmp_path / "joined")
    with pytest.raises(MissingFileError, match=r"no progress.jsonl in .*empty; name folders that mspn predict"):
        merge_results([one, tmp_path / "empty"], tmp_path / "joined")
    (tmp_path / "empty" / JOURNAL_FILE).touch()
    with pytest.raises(InvalidValueError, match=r"empty.progress.jsonl is empty, its run ended before the first image"):
        merge_results([tmp_path / "empty", one], tmp_path / "joined")
    with pytest.raises(InvalidValueError, match="which is one of the runs; choose another --out"):
        merge_results([one], one)


def test_a_used_folder_is_refused_or_overwritten(tmp_path: Path):
    one = _run(tmp_path / "1", RESULTS)
    joined = _run(tmp_path / "joined", RESULTS[:1])

    with pytest.raises(InvalidValueError, match="already holds results; add --overwrite, or choose another --out"):
        merge_results([one], joined)
    merge_results([one], joined, ["json"], overwrite=True)

    assert set(_files(joined)) == {"predictions.json", JOURNAL_FILE}
    assert len(json.loads((joined / "predictions.json").read_text())) == 6
