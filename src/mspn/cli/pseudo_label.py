"""mspn data pseudo-label: labels for photos without any, where networks agree; and suggest: pre-labels."""

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from mspn.cli.options import (
    BatchOption,
    DetectorOption,
    DeviceOption,
    ModelsOption,
    PrecisionName,
    PrecisionOption,
    ThresholdOption,
    refuse_unused,
)
from mspn.cli.printing import KILLED, SOME_FAILED, echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.detectors import DEFAULT, make_detector
from mspn.detectors.base import Detector
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import InvalidValueError, MissingFileError, MspnError
from mspn.inference.devices import keep_freed_memory
from mspn.interrupts import stop_requests
from mspn.io.files import prepare_folder, write_text
from mspn.io.images import IMAGE_SUFFIXES
from mspn.labels.formats import read_labels, write_labels
from mspn.labels.formats.coco import CocoImage, parse_coco, write_coco
from mspn.labels.formats.label_studio import write_label_config, write_predictions
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.labels.reading import check_form, image_size, read_json
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pseudo_labels import (
    AgreementRule,
    Suggestion,
    as_labels,
    common_skeleton,
    label_people,
    load_teacher,
    rank_suggestions,
    select_boxes,
)
from mspn.sources import read_single_image
from mspn.sources.resolve import search_folder

_SETTINGS = "pseudo_labels"
"""Field of the file that says how it was made; --resume goes on only in the same way."""
_PHOTOS_BETWEEN_WRITES = 500


def pseudo_label_command(
    photos: Annotated[Path, typer.Argument(help="Folder of photos.")],
    out: Annotated[Path, typer.Option(help="COCO keypoint file to write.")],
    teachers: Annotated[
        list[str],
        typer.Option("--teacher", help="Name or weights file of a pose network, or a MoveNet .onnx file; repeatable."),
    ] = ["default"],  # noqa: B006 (typer copies it)
    boxes: Annotated[Path | None, typer.Option(help="Boxes file, in place of the embedded person detector.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Boxes with a lower score are left out.")] = 0.45,
    agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest similarity (OKS) of a keypoint's views with their mean.")
    ] = 0.5,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Lowest mean score of a keypoint.")] = 0.3,
    min_keypoints: Annotated[int, typer.Option(min=1, help="People with fewer keypoints are left out.")] = 6,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where --out ends.")] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    batch: BatchOption = 32,
) -> None:
    """Label the people of photos without labels, where the teachers agree, plain and mirrored.

    The file is a set like any other for training: data.train=[..., {annotations: OUT, images: PHOTOS}].
    """
    keep_freed_memory()
    with one_line_errors():
        if out.exists() and not resume:
            raise InvalidValueError(f"{out} is there already; choose another --out, or go on with --resume")
        rule = AgreementRule(agreement=agreement, min_score=min_score, min_keypoints=min_keypoints)
        names = find_photos(photos)
        networks = [load_teacher(teacher, device, precision.value, batch) for teacher in teachers]
        settings = {"teachers": teachers, "boxes": boxes and str(boxes), "threshold": threshold, **rule.model_dump()}
        labels = LabeledSet(common_skeleton(networks), [], [], {_SETTINGS: settings})
        if out.exists():
            labels = _read_begun(out, labels)
        detector = make_detector(DEFAULT, device) if boxes is None else BoxesFile(boxes)
        images, people = list(labels.images), list(labels.people)
        done = {image.file_name for image in images}
        left = [name for name in names if name not in done]
        num_failed = 0
        with stop_requests(raise_on_second=True) as stop, show_count("labeling", "photos") as show:
            for number, name in enumerate(left, start=1):
                try:
                    image = read_single_image(photos / name)
                    found = label_people(image, select_boxes(detector.detect(image), threshold), networks, rule)
                except (MspnError, OSError) as error:
                    echo(f"skipped: {error}", err=True)
                    num_failed += 1
                else:
                    images.append(LabeledImage(len(images) + 1, name, image.size))
                    people += [
                        replace(person, id=len(people) + index, image_id=len(images))
                        for index, person in enumerate(found, start=1)
                    ]
                show(number, len(left))
                if stop.signal_number:
                    break
                if number % _PHOTOS_BETWEEN_WRITES == 0:
                    write_coco(replace(labels, images=images, people=people), out)
        write_coco(replace(labels, images=images, people=people), out)
    num_labeled = sum(int((person.keypoints_image[:, 2] > 0).sum()) for person in people)
    share = num_labeled / max(1, len(people) * len(labels.skeleton.keypoints))
    echo(f"{out}: {len(people)} people in {len(images)} of {len(names)} photos, {share:.0%} of their keypoints labeled")
    if stop.signal_number:
        echo("stopped; go on with the same command and --resume", err=True)
        raise typer.Exit(KILLED + stop.signal_number)
    if num_failed:
        echo(f"{num_failed} photos could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _read_begun(out: Path, empty: LabeledSet) -> LabeledSet:
    """Labels of an earlier run of the same command, which may have labeled nobody so far."""
    content = read_json(out)
    if not isinstance(content, dict) or content.get(_SETTINGS) != empty.extra[_SETTINGS]:
        raise InvalidValueError(f"{out} was made with other teachers, boxes or limits; choose another --out")
    if content.get("annotations") != []:
        return parse_coco(out, content)
    entries = check_form(out, content.get("images"), list[CocoImage], "a COCO keypoint file")
    sizes = [image_size(entry.width, entry.height, entry.file_name) for entry in entries]
    images = [LabeledImage(entry.id, entry.file_name, size) for entry, size in zip(entries, sizes, strict=True)]
    return replace(empty, images=images)


def find_photos(folder: Path) -> list[str]:
    """Names of the photos in a folder and below.

    Raises:
        MissingFileError: if there are none.
    """
    found = search_folder(folder) if folder.is_dir() else ()
    photos = [path for path in found if isinstance(path, Path) and path.suffix.lower() in IMAGE_SUFFIXES]
    if not photos:
        raise MissingFileError(f"no photos in {folder}; name the folder that holds them")
    return sorted(path.relative_to(folder).as_posix() for path in photos)


LIST_FILE, CONFIG_FILE = "photos.txt", "labeling-interface.xml"
_LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files of the folder that LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT names."""
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


class FormatName(str, Enum):
    """What pre-labels are written for."""

    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"
    COCO = "coco"


FILES = {
    FormatName.LABEL_STUDIO: "tasks.json",
    FormatName.CVAT: "annotations.xml",
    FormatName.COCO: "annotations.json",
}


def suggest_command(
    context: typer.Context,
    photos: Annotated[Path, typer.Argument(help="Folder of photos.")],
    out: Annotated[Path, typer.Option(help="Folder for the pre-labels, and the photos' names in their order.")],
    models: ModelsOption = ["default"],  # noqa: B006 (typer copies it)
    to: Annotated[FormatName, typer.Option(help="What labels the photos.")] = FormatName.LABEL_STUDIO,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Labels that there are; their photos are left out. Repeatable.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Photos at most.")] = 100,
    address: Annotated[
        str | None,
        typer.Option(
            help="What stands before a photo's name in its address in Label Studio; else"
            f" {_LOCAL_FILES}FOLDER/, for the folder of photos in its folder of local files."
        ),
    ] = None,
    detector: DetectorOption = "default",
    boxes: Annotated[Path | None, typer.Option(help="Boxes file, in place of a detector.")] = None,
    threshold: ThresholdOption = 0.3,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    batch: BatchOption = 32,
) -> None:
    """Pre-label the photos to label next, those of which the network is least sure first.

    Label Studio imports tasks.json into a project with the labeling interface that is written beside it. CVAT imports
    annotations.xml into a task with the photos of photos.txt.
    """
    keep_freed_memory()
    if boxes is not None:
        refuse_unused(context, ["detector"], "is not used with --boxes; give only one of the two")
    if to != FormatName.LABEL_STUDIO:
        refuse_unused(context, ["address"], "is for --to label-studio")
    with one_line_errors():
        file = out / FILES[to]
        if file.exists():
            raise InvalidValueError(f"{file} is there already; choose another --out")
        names = _leave_out_labeled(photos, find_photos(photos), labels or ())
        if not names:
            raise InvalidValueError(f"all photos of {photos} are labeled already; give others")
        prepare_folder(out)
        chosen: Detector | str = detector if boxes is None else BoxesFile(boxes)
        estimator = PoseEstimator(
            models, chosen, device=device, precision=precision.value, batch_size=batch, threshold=threshold
        )
        suggestions: list[Suggestion] = []
        num_failed = 0
        by_source = {str(photos / name): name for name in names}
        with stop_requests(raise_on_second=True) as stop, show_count("looking", "photos") as show:
            for number, result in enumerate(estimator.stream(list(by_source), keep_pixels=False), start=1):
                for problem in result.problems:
                    echo(f"skipped: {problem}", err=True)
                num_failed += bool(result.problems)
                name = by_source.pop(result.source, None)  # of several pages, the first
                if name is not None and result.image is not None:
                    suggestions.append(Suggestion(name, result.image.size, result.poses))
                show(min(number, len(names)), len(names))
                if stop.signal_number:
                    break
        ranked = rank_suggestions(suggestions, count)
        labeled = as_labels(ranked, estimator.recipe)
        if to == FormatName.LABEL_STUDIO:
            scores = {image.id: suggestion.certainty for image, suggestion in zip(labeled.images, ranked, strict=True)}
            start = address if address is not None else f"{_LOCAL_FILES}{photos.resolve().name}/"
            write_predictions(labeled, file, scores, model=" + ".join(models), address=start)
            write_label_config(labeled, out / CONFIG_FILE)
        else:
            write_labels(labeled, file, to.value)
        write_text(out / LIST_FILE, "".join(f"{suggestion.file_name}\n" for suggestion in ranked))
    nobody = sum(not suggestion.poses for suggestion in suggestions)
    without = f"; nothing was found in {nobody}" if nobody else ""
    echo(f"{file}: {len(labeled.people)} pre-labeled in {len(ranked)} of {len(suggestions)} photos{without}")
    echo(f"their names, the most uncertain first: {out / LIST_FILE}")
    if stop.signal_number:
        raise typer.Exit(KILLED + stop.signal_number)
    if num_failed:
        echo(f"{num_failed} photos could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _leave_out_labeled(photos: Path, names: Sequence[str], labels: Sequence[Path]) -> list[str]:
    """Photos that the labels do not name; a labeled name may have more folders before it than ours, or fewer."""
    labeled = {_parts(image.file_name) for path in labels for image in read_labels(path).images}
    folder = photos.resolve().parts

    def is_labeled(name: str) -> bool:
        parts = (*folder, *PurePosixPath(name).parts)
        return any(parts[start:] in labeled for start in range(len(parts)))

    return [name for name in names if not is_labeled(name)]


def _parts(name: str) -> tuple[str, ...]:
    """Folders and name of a file, without what Label Studio puts before uploaded ones."""
    path = PurePosixPath(name)
    return path.with_name(_UPLOAD_PREFIX.sub("", path.name)).parts
