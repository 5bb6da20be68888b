"""Run `mspn` on thousands of damaged files, and list each case that ends in anything but an answer or one line.

Run: python -m benchmarks.fuzz OUT [--cases 10000] [--seed 0] [--kind labels] [--only 17]

A case is a sound file (image, label file, weights, video, run folder) with damage that its number decides, and a
command that reads it. It fails where the command ends in a traceback or a signal, takes longer than 20 s of
processor time or two minutes, or needs more than 1.5 GB. Commands run in a process that has imported the package, one
after another; what kills it is known.
OUT/failures.jsonl has a line for each failure; OUT/cases/NUMBER keeps its files.
"""

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from mspn.cli.app import app
from mspn.structures.skeleton import COCO_17

_MAX_SECONDS = 20.0
"""Of processor time, so that other work on the machine does not count."""
_KILL_SECONDS = 120.0
"""The process is stopped when a case has not ended by then."""
_MAX_BYTES = 1_500_000_000
_KILL_BYTES = 4_000_000_000
"""The process is stopped here, before the machine suffers."""
_CASES_A_PROCESS = 100
_SAMPLE = Path("src/mspn/assets/sample")

_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "1", 0, -1, 1.5, 1e-320, 1e300, 2**31, 2**63, 2**70, float("nan"), float("inf")),
    *(
        "\x1b[31mred",
        "\ud800",
        "../../secret.jpg",
        "/etc/hostname",
        "=1+1",
        "a" * 10_000,
        [],
        {},
        [[]],
        [None],
        {"a": 1},
    ),
    *([1, 2, 3, 4], [[[[[]]]]], "2026-01-01", -(2**63), "left eye"),
)
_ODD_BYTES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff")


class Case(NamedTuple):
    """Commands to run, one after another, in the case's folder."""

    kind: str
    commands: list[list[str]]


class Outcome(NamedTuple):
    """How a case ended."""

    code: int | None
    """The last command's; None where it ended in a traceback or took the process with it."""
    seconds: float
    peak_bytes: int
    message: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[*_KINDS], action="append")
    parser.add_argument("--only", type=int, help="run this case alone, and print what it says")
    options = parser.parse_args()
    kinds = options.kind or [*_KINDS]
    options.out.mkdir(parents=True, exist_ok=True)
    corpus = options.out / "corpus"
    if not corpus.exists():
        _write_corpus(corpus)
    numbers = range(options.cases) if options.only is None else [options.only]
    failures = _run_all(numbers, kinds, options.seed, corpus, options.out, is_verbose=options.only is not None)
    raise SystemExit(1 if failures else 0)


def _run_all(
    numbers: Sequence[int], kinds: Sequence[str], seed: int, corpus: Path, out: Path, *, is_verbose: bool
) -> int:
    counts: Counter[str] = Counter()
    slowest = largest = 0.0
    failures = 0
    worker = _Worker()
    said = time.monotonic()
    with (out / "failures.jsonl").open("a") as log:
        for done, number in enumerate(numbers, 1):
            kind = kinds[number % len(kinds)]
            folder = out / "cases" / str(number)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            case = _KINDS[kind](random.Random(f"{seed}-{number}"), corpus, folder)
            outcome = worker.run(case, folder)
            slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.peak_bytes)
            fault = _fault(outcome)
            counts[fault or f"{kind}: exit code {outcome.code}"] += 1
            if fault:
                failures += 1
                row = {"case": number, "kind": kind, "fault": fault, "commands": case.commands, **outcome._asdict()}
                print(json.dumps(row), file=log, flush=True)
                print(f"case {number} ({kind}): {fault}: {outcome.message.strip().splitlines()[-1:]}", flush=True)
            elif is_verbose:
                print(outcome)
            else:
                shutil.rmtree(folder)
            if time.monotonic() - said > 10:
                said = time.monotonic()
                print(f"{done} of {len(numbers)} cases, {failures} failures", flush=True)
    worker.stop()
    for name, count in sorted(counts.items()):
        print(f"{count:6d}  {name}")
    print(f"slowest {slowest:.1f} s, largest {largest / 1e9:.2f} GB, {failures} failures in {len(numbers)} cases")
    return failures


def _fault(outcome: Outcome) -> str | None:
    if outcome.code is None:
        return "traceback or signal"
    if outcome.seconds > _MAX_SECONDS:
        return "slow"
    return "large" if outcome.peak_bytes > _MAX_BYTES else None


# --- the process that runs the commands ---


class _Worker:
    """A process that has imported the package; a new one takes its place when it dies or has run for long."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._num_run = 0

    def run(self, case: Case, folder: Path) -> Outcome:
        if self._process is None or self._num_run >= _CASES_A_PROCESS:
            self.stop()
            self._start()
        assert self._process is not None
        process, answers = self._process, self._process.stdout
        assert answers is not None
        self._num_run += 1
        request = {"folder": str(folder.resolve()), "commands": case.commands}
        print(json.dumps(request), file=process.stdin, flush=True)
        start = time.monotonic()
        while not select.select([answers], [], [], 0.1)[0]:
            seconds = time.monotonic() - start
            size = _memory(process.pid, "VmRSS")
            if seconds > _KILL_SECONDS or size > _KILL_BYTES:
                self.stop()
                return Outcome(None, seconds, size, f"killed after {seconds:.0f} s with {size / 1e9:.1f} GB")
        answer = answers.readline()
        if not answer:
            code = process.wait()
            self._process = None
            return Outcome(None, time.monotonic() - start, 0, f"the process ended with {code}")
        return Outcome(**json.loads(answer))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._num_run = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from benchmarks.fuzz import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MSPN_OFFLINE": "1"},
        )


def serve() -> None:
    """Run the commands that arrive on standard input, a line of JSON a case, and answer with a line each."""
    answers = os.fdopen(os.dup(1), "w")
    cases = os.fdopen(os.dup(0), "r")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for line in cases:
        request = json.loads(line)
        os.chdir(request["folder"])
        said = os.open("said.txt", os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        start = time.process_time()
        code: int | None = 0
        message = ""
        for command in request["commands"]:
            try:
                app(command, prog_name="mspn")
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                code, message = None, traceback.format_exc()
                break
        seconds = time.process_time() - start
        sys.stdout.flush()
        sys.stderr.flush()
        text = Path("said.txt").read_text(errors="replace")
        if "Traceback (most recent call last)" in text:
            code = None
        outcome = Outcome(code, seconds, _memory(os.getpid(), "VmHWM"), (text + message)[-4000:])
        os.close(said)
        print(json.dumps(outcome._asdict()), file=answers, flush=True)


def _memory(process: int, field: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(row.split()[1]) * 1024 for row in status.splitlines() if row.startswith(field)), 0)


# --- damage ---


def _damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert and overwrite, one to eight times; half of the damage is to the first 2 KB."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(2048, len(data))
        at = rng.randrange(reach)
        action = rng.randrange(6)
        if action == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            odd = rng.choice(_ODD_BYTES)
            data[at : at + len(odd)] = odd
        elif action == 2 and rng.random() < 0.3:
            del data[at:]
        elif action == 3:
            del data[at : at + rng.randint(1, 64)]
        elif action == 4:
            data[at:at] = data[rng.randrange(len(data)) :][: rng.randint(1, 64)]
        else:
            data[at : at + 16] = rng.randbytes(min(16, len(data) - at))
    return bytes(data)


def _damage_tree(value: Any, rng: random.Random) -> Any:
    """Replace, drop or repeat one to three nodes of parsed JSON."""
    for _ in range(rng.randint(1, 3)):
        parents = [node for node in _containers(value) if node]
        if not parents:
            return rng.choice(_ODD_VALUES)
        parent = rng.choice(parents)
        key = rng.choice([*parent] if isinstance(parent, dict) else range(len(parent)))
        action = rng.randrange(5)
        if action == 0:
            del parent[key]
        elif action == 1 and isinstance(parent, list):
            parent.append(parent[key])
        elif action == 2 and isinstance(parent, dict):
            parent[rng.choice(["x", "id", "bbox", "\x1b[2J", ""])] = parent.pop(key)
        else:
            parent[key] = rng.choice(_ODD_VALUES)
    return value


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, (dict, list)):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(node for part in inner for node in _containers(part))]


def _damage_text(text: str, rng: random.Random) -> bytes:
    """JSON as a tree or as bytes, in odd encodings now and then."""
    if rng.random() < 0.8:
        text = json.dumps(_damage_tree(json.loads(text), rng))
        encoding = rng.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1"])
        return text.encode(encoding, errors="replace")
    return _damage_bytes(text.encode(), rng)


# --- sound files ---


def _write_corpus(folder: Path) -> None:
    """One sound file or more of each kind."""
    for kind in ("images", "labels", "weights", "videos", "runs"):
        (folder / kind).mkdir(parents=True)
    photo = Image.open(_SAMPLE / "astronaut.jpg").resize((160, 160))
    _write_images(folder / "images", photo)
    photo.save(folder / "photo.jpg")
    _write_videos(folder / "videos", photo)
    _write_labels(folder / "labels")
    _write_runs(folder / "runs", folder)
    _write_weights(folder / "weights", folder / "runs/train/weights.safetensors")


def _write_images(folder: Path, photo: Image.Image) -> None:
    frames = [photo.rotate(angle) for angle in (0, 90)]
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("photo.jpg", "photo.png", "photo.webp", "photo.tiff", "photo.bmp", "photo.gif", "photo.ppm"):
        photo.save(folder / name)
    photo.save(folder / "turned.jpg", exif=exif)
    photo.save(folder / "turned.png", exif=exif)
    photo.save(folder / "progressive.jpg", progressive=True)
    photo.convert("L").save(folder / "gray.png")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 16).save(folder / "deep.png")
    for name in ("pages.tiff", "animated.webp", "animated.png", "animated.gif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])


def _write_videos(folder: Path, photo: Image.Image) -> None:
    for name, codec in (
        ("clip.mp4", "h264"),
        ("clip.mkv", "h264"),
        ("clip.webm", "vp9"),
        ("clip.avi", "mpeg4"),
        ("clip.ts", "h264"),
        ("clip.mjpeg", "mjpeg"),
    ):
        with av.open(str(folder / name), "w") as container:
            stream = cast("av.VideoStream", container.add_stream(codec, rate=5))
            stream.width, stream.height = 160, 160
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for turn in range(4):
                frame = av.VideoFrame.from_ndarray(np.asarray(photo.rotate(turn)), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def coco_labels() -> dict[str, Any]:
    def person(number: int) -> dict[str, Any]:
        points = [value for joint in range(17) for value in (60 + joint + number, 40 + 5 * joint, joint % 3)]
        box = [30, 20, 90, 120]
        common = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 5000.0}
        return {"id": number, "keypoints": points, "num_keypoints": 11, "bbox": box, **common}

    category = {"id": 1, "name": "person", "keypoints": [*COCO_17.keypoints], "skeleton": [[1, 2], [2, 3]]}
    images = [{"id": 1, "file_name": "photo.jpg", "width": 160, "height": 160}]
    return {"images": images, "annotations": [person(1), person(2)], "categories": [category]}


def _write_labels(folder: Path) -> None:
    content = coco_labels()
    (folder / "coco.json").write_text(json.dumps(content))
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [30, 20, 90, 120], "score": 0.9}]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    results = [
        {"image_id": 1, "category_id": 1, "keypoints": person["keypoints"], "score": 0.8}
        for person in content["annotations"]
    ]
    (folder / "results.json").write_text(json.dumps(results))
    images = folder.parent / "photos"
    images.mkdir()
    shutil.copy(folder.parent / "photo.jpg", images)
    for layout in ("cvat", "label-studio", "mpii", "ai-challenger", "yolo", "crowdpose"):
        suffix = {"cvat": ".xml", "yolo": ""}.get(layout, ".json")
        _mspn("data", "convert", folder / "coco.json", folder / (layout + suffix), "--to", layout, "--images", images)
    joints = np.random.default_rng(0).uniform(0, 150, (3, 14, 1))
    savemat(folder / "joints.mat", {"joints": joints})
    (folder / "skeleton.yaml").write_text("keypoints: [nose, left_eye, right_eye]\nlimbs: [[nose, left_eye]]\n")


def _write_weights(folder: Path, trained: Path) -> None:
    shutil.copy(trained, folder / "ours.safetensors")
    torch.save({"state_dict": {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4)}}, folder / "state.pth")
    torch.save({"state_dict": {"a.weight": torch.ones(4, 3)}}, folder / "old.pth", _use_new_zipfile_serialization=False)


def _write_runs(folder: Path, corpus: Path) -> None:
    """A training run, a prediction and an evaluation."""
    sets = f'[{{"annotations": "{corpus.resolve()}/labels/coco.json", "images": "{corpus.resolve()}/photos"}}]'
    settings = {
        **{"data.train": sets, "data.validation": "null", "data.root": str(corpus.resolve())},
        **{"train.iterations": "2", "train.batch_size": "2", "train.warmup_iterations": "1", "train.threads": "1"},
    }
    changes = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    _mspn("train", "study-mspn-1", "--out", folder / "train", *changes)
    _mspn("predict", corpus / "photos", "--out", folder / "predict", "--save", "json,jsonl,csv", "--model", "mspn-tiny")
    _mspn(
        *("evaluate", "--annotations", corpus / "labels/coco.json", "--results", corpus / "labels/results.json"),
        *("--out", folder / "evaluate"),
    )


def _mspn(*arguments: object) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mspn", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"mspn {' '.join(map(str, arguments))}\n{result.stderr}")


# --- kinds of cases ---


def _image_case(rng: random.Random, corpus: Path, folder: Path) -> Case:
    source = rng.choice(sorted((corpus / "images").iterdir()))
    file = folder / source.name
    file.write_bytes(_damage_bytes(source.read_bytes(), rng))
    return Case("images", [["predict", file.name, "--out", "out", "--model", "mspn-tiny", "--engine", "torch"]])


def _video_case(rng: random.Random, corpus: Path, folder: Path) -> Case:
    source = rng.choice(sorted((corpus / "videos").iterdir()))
    file = folder / source.name
    file.write_bytes(_damage_bytes(source.read_bytes(), rng))
    save = rng.choice(["json", "json,video"])
    return Case(
        "videos", [["predict", file.name, "--out", "out", "--save", save, "--model", "mspn-tiny", "--engine", "torch"]]
    )


def _label_case(rng: random.Random, corpus: Path, folder: Path) -> Case:
    photos = str((corpus / "photos").resolve())
    source = rng.choice(sorted((corpus / "labels").iterdir()))
    target = folder / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        broken = rng.choice(sorted(path for path in target.rglob("*") if path.is_file()))
    else:
        shutil.copy(source, target)
        broken = target
    content = broken.read_bytes()
    broken.write_bytes(_damage_text(content.decode(), rng) if broken.suffix == ".json" else _damage_bytes(content, rng))
    name = target.name
    sound = str((corpus / "labels/coco.json").resolve())
    if source.name == "boxes.json":
        command = ["predict", photos, "--boxes", name, "--out", "out", "--model", "mspn-tiny", "--engine", "torch"]
    elif source.name == "results.json":
        command = ["evaluate", "--annotations", sound, "--results", name, "--out", "out"]
    elif source.name == "skeleton.yaml":
        command = ["data", "stats", sound, "--skeleton", name]
    else:
        to = rng.choice(["coco", "yolo", "cvat", "label-studio"])
        command = rng.choice(
            [
                ["data", "check", name, "--images", photos],
                ["data", "check", name, "--no-images"],
                ["data", "stats", name],
                ["data", "show", name, "--images", photos, "--out", "out"],
                ["data", "convert", name, "converted", "--to", to, "--images", photos],
                ["evaluate", "--annotations", name, "--results", str((corpus / "labels/results.json").resolve())],
            ]
        )
    return Case("labels", [command])


def _weight_case(rng: random.Random, corpus: Path, folder: Path) -> Case:
    source = rng.choice(sorted((corpus / "weights").iterdir()))
    file = folder / source.name
    content = source.read_bytes()
    if source.suffix == ".safetensors" and rng.random() < 0.6:
        size = int.from_bytes(content[:8], "little")
        header = _damage_text(content[8 : 8 + size].decode(), rng)
        if rng.random() < 0.5:  # the settings of the network, which are JSON within the JSON
            metadata = json.loads(content[8 : 8 + size])
            key = rng.choice([*metadata["__metadata__"]])
            text = metadata["__metadata__"][key]
            if text.startswith(("{", "[")):
                metadata["__metadata__"][key] = _damage_text(text, rng).decode(errors="replace")
            header = json.dumps(metadata).encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    else:
        file.write_bytes(_damage_bytes(content, rng))
    photo = str((corpus / "photos").resolve())
    commands = [
        ["models", "show", file.name],
        ["models", "convert", file.name, "converted.safetensors"],
        ["predict", photo, "--model", file.name, "--out", "out", "--engine", "torch"],
    ]
    return Case("weights", [rng.choice(commands if source.suffix == ".safetensors" else commands[1:])])


def _run_case(rng: random.Random, corpus: Path, folder: Path) -> Case:
    source = rng.choice(sorted((corpus / "runs").iterdir()))
    shutil.copytree(source, folder / "run")
    files = sorted(path for path in (folder / "run").rglob("*") if path.is_file() and path.suffix != ".jpg")
    broken = rng.choice(files)
    content = broken.read_bytes()
    is_json = broken.suffix == ".json"
    broken.write_bytes(_damage_text(content.decode(), rng) if is_json else _damage_bytes(content, rng))
    photos = str((corpus / "photos").resolve())
    commands = {
        "train": [["report", "run"], ["train", "study-mspn-1", "--out", "run", "--resume"]],
        "predict": [
            ["predict", photos, "--out", "run", "--save", "json,jsonl,csv", "--model", "mspn-tiny", "--resume"]
        ],
        "evaluate": [["compare", "run/report.json", str((source / "report.json").resolve())]],
    }
    return Case("runs", [rng.choice(commands[source.name])])


_KINDS: dict[str, Callable[[random.Random, Path, Path], Case]] = {
    "images": _image_case,
    "labels": _label_case,
    "weights": _weight_case,
    "videos": _video_case,
    "runs": _run_case,
}


if __name__ == "__main__":
    main()
