"""Pose networks side by side: time from file to keypoints, start, memory, and accuracy where weights are trained.

Every peer is a process of its own with one thread (`peer_torch.py`, `peer_onnx.py`, `peer_mediapipe.py`), and all take
turns image by image, in the same labeled boxes. Times are the processor's, which other programs disturb less. Peers
without trained weights, and the slow way of the same weights, answer until they have seen --timed people.

PHOTOS has annotations.json and images/. --video asks for its first frames, too, in the boxes that the embedded detector
finds there. --movenet names ONNX files of MoveNet SinglePose. --mediapipe names the folder of an environment with
MediaPipe, made there if it is missing, since it needs another NumPy; else it is left out.
Run: python -m benchmarks.peers PHOTOS --out FOLDER [--video FILE] [--movenet FILE ...] [--mediapipe build/mediapipe]
"""

import argparse
import statistics
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2

from benchmarks.peer_process import Answer, GivenBox, PeerProcess
from mspn.checkpoints.networks import load_named
from mspn.detectors import make_detector
from mspn.errors import import_extra
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.inference.fold import export_onnx
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17

_MEDIAPIPE = ("mediapipe==0.10.21", "numpy==1.26.4", "protobuf==4.25.8", "opencv-python-headless==4.11.0.86")
_ITS_IMPORTS = ("absl-py", "attrs", "flatbuffers", "matplotlib")
_MODELS = ("mspn-tiny", "mspn-small", "mspn-base")
_NUM_FRAMES = 300
_MIN_SCORE = 0.3


class Entry(NamedTuple):
    """A peer to start."""

    name: str
    command: tuple[str, ...]
    answers_all: bool = True
    """False: it is asked until it has seen enough people for a time, and has no AP of its own."""


class Question(NamedTuple):
    """An image, or the next frame of a video."""

    path: Path
    boxes: Sequence[GivenBox]
    is_video: bool = False


class Row(NamedTuple):
    """What is measured of a peer."""

    name: str
    precision: float | None
    people_ms: float
    """A person, without reading the image."""
    images_per_second: float
    """From the file to the keypoints of its people."""
    start_seconds: float
    """From nothing to the first image's answer."""
    peak_mib: float


def main() -> None:
    """Measure, print a table in Markdown, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--movenet", type=Path, nargs="*", default=[])
    parser.add_argument("--mediapipe", type=Path)
    parser.add_argument("--timed", type=int, default=20)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    truth = read_ground_truth(options.photos / "annotations.json", COCO_17)
    labeled = label_questions(truth, options.photos / "images")
    with TemporaryDirectory() as folder:
        exported = {model: Path(folder) / f"{model}.onnx" for model in _MODELS}
        for model, path in exported.items():
            path.write_bytes(export_onnx(load_named(model).model))
        entries = list_entries(exported, options.movenet, options.mediapipe)
        answers = measure(entries, list(labeled.values()), options.timed, Path(folder))
        rows = [
            make_row(entry.name, given, score(given, list(labeled), truth) if entry.answers_all else None)
            for entry, given in zip(entries, answers, strict=True)
        ]
        print_table(rows)
        draw(rows, options.out / "peers.png")
        if options.video:
            frames = find_in_video(options.video)
            print(f"\n{len(frames)} frames, {sum(len(frame.boxes) for frame in frames)} people\n", flush=True)
            answers = measure(entries, frames, options.timed, Path(folder))
            print_table([make_row(entry.name, given, None) for entry, given in zip(entries, answers, strict=True)])


def label_questions(truth: CocoPeople, images: Path) -> dict[int, Question]:
    """Of the images with people, by the image's id."""
    boxes = defaultdict(list)
    for row in truth.annotations:
        if not row.iscrowd:
            boxes[row.image_id].append(row.bbox)
    return {image.id: Question(images / image.file_name, boxes[image.id]) for image in truth.images if boxes[image.id]}


def find_in_video(path: Path) -> list[Question]:
    """Of its first frames, with the people that the embedded detector finds."""
    detector, video = make_detector("default"), cv2.VideoCapture(str(path))
    questions: list[Question] = []
    while len(questions) < _NUM_FRAMES:
        was_read, frame = video.read()
        if not was_read:
            break
        found = detector.detect(Image(str(path), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
        questions.append(Question(path, [person.box for person in found if person.score >= _MIN_SCORE], True))
    return questions


def print_table(rows: Sequence[Row]) -> None:
    """In Markdown, the fastest first."""
    print("| | AP | ms a person | images a second | start | memory |")
    print("|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: row.people_ms):
        precision = "" if row.precision is None else f"{row.precision:.3f}"
        speed = f"{row.people_ms:.1f} | {row.images_per_second:.1f}"
        print(f"| {row.name} | {precision} | {speed} | {row.start_seconds:.1f} s | {row.peak_mib:.0f} MiB |")


def list_entries(exported: dict[str, Path], movenet: Sequence[Path], mediapipe: Path | None) -> list[Entry]:
    """All peers that can be started here."""

    def by(module: str, *arguments: str, python: str = sys.executable) -> tuple[str, ...]:
        return python, "-m", f"benchmarks.{module}", *arguments

    entries = []
    for model in _MODELS:
        entries += [
            Entry(model, by("peer_torch", "ours", model)),
            Entry(f"{model}, no flip", by("peer_torch", "ours-no-flip", model)),
            Entry(f"{model}, no flip, OpenVINO", by("peer_torch", "ours-openvino", model)),
            Entry(f"{model} in rtmlib's loop", by("peer_onnx", "heatmaps", str(exported[model]))),
            Entry(f"{model} as MMPose runs it", by("peer_torch", "mmpose", model), answers_all=False),
        ]
    entries.append(Entry("ViTPose-B, random weights", by("peer_torch", "vitpose"), answers_all=False))
    entries += [Entry(path.stem, by("peer_onnx", "movenet", str(path))) for path in movenet]
    if mediapipe is not None:
        entries.append(Entry("MediaPipe, full", by("peer_mediapipe", python=str(_python_with_mediapipe(mediapipe)))))
    return entries


def measure(entries: Sequence[Entry], questions: Sequence[Question], timed: int, logs: Path) -> list[list[Answer]]:
    """What each peer answers; they take turns, and those that are slow answer fewer."""
    peers: list[PeerProcess] = []
    answers: list[list[Answer]] = []
    first, *others = questions
    try:
        for number, entry in enumerate(entries):  # one after another, since starts at once would slow each other down
            peers.append(PeerProcess(entry.command, logs / f"{number}.log"))
            answers.append([peers[-1].ask(*first)])
        people = 0
        for question in others:
            for entry, peer, given in zip(entries, peers, answers, strict=True):
                if entry.answers_all or people < timed:
                    given.append(peer.ask(*question))
            people += len(question.boxes)
    finally:
        for peer in peers:
            peer.close()
    return answers


def make_row(name: str, answers: Sequence[Answer], precision: float | None) -> Row:
    """Of the answers of a peer, the first of which waited for its start."""
    start, *timed = answers
    seconds = sum(answer.people_seconds for answer in timed)
    return Row(
        name,
        precision,
        1000 * seconds / sum(len(answer.keypoints) for answer in timed),
        len(timed) / (seconds + sum(answer.read_seconds for answer in timed)),
        start.process_seconds,
        answers[-1].peak_mib,
    )


def score(answers: Sequence[Answer], image_ids: Sequence[int], truth: CocoPeople) -> float:
    """AP of answers to images."""
    results = [
        {
            "image_id": image_id,
            "category_id": truth.category_id,
            "keypoints": [value for keypoint in person for value in keypoint],
            "score": statistics.fmean(score for _, _, score in person),
        }
        for image_id, answer in zip(image_ids, answers, strict=True)
        for person in answer.keypoints
    ]
    return average_precision(truth, results, COCO_17)["AP"]


def _python_with_mediapipe(folder: Path) -> Path:
    """Of the environment in a folder, which is made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", _MEDIAPIPE[0]], check=True)  # its jax is for training alone
        subprocess.run([*pip, *_MEDIAPIPE[1:], *_ITS_IMPORTS], check=True)
    return python


def draw(rows: Sequence[Row], path: Path) -> None:
    """AP over milliseconds a person; our networks run in one way are a line."""
    figure = import_extra("matplotlib.figure", ImportError("pip install 'mspn[plots]'")).Figure(
        figsize=(8, 4.5), layout="constrained"
    )
    axes = figure.subplots()
    measured = sorted((row.people_ms, row.precision, row.name) for row in rows if row.precision is not None)
    ways: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for ms, precision, name in measured:
        model = next((model for model in _MODELS if name.startswith(model)), None)
        if model:
            ways[name.removeprefix(model).strip(", ") or "as it is, with flip"].append((ms, precision))
        else:
            axes.scatter(ms, precision, color="#d55e00")
        if model in (None, name):
            axes.annotate(name, (ms, precision), xytext=(6, -11), textcoords="offset points", fontsize=8)
    for way, points in ways.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=f"mspn, {way}")
    axes.set_xscale("log")
    ticks = [tick for tick in (2, 5, 10, 20, 50, 100) if measured[0][0] / 2 <= tick <= 2 * measured[-1][0]]
    axes.set_xticks(ticks, labels=map(str, ticks))
    axes.minorticks_off()
    axes.set_xlabel("processor milliseconds a person, one thread")
    axes.set_ylabel("AP, labeled boxes")
    axes.margins(x=0.2, y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.35), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
