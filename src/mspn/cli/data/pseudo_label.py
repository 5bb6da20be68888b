"""mspn data pseudo-label: labels for photos without any, where networks agree."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mspn.cli.options import BatchOption, DeviceOption, PrecisionName, PrecisionOption
from mspn.cli.printing import KILLED, SOME_FAILED, echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.detectors import DEFAULT, make_detector
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import InvalidValueError, MissingFileError, MspnError
from mspn.inference.devices import choose_device, keep_freed_memory
from mspn.interrupts import stop_requests
from mspn.io.images import IMAGE_SUFFIXES
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.predict.pseudo_labels import AgreementRule, common_skeleton, label_people, load_teacher, select_boxes
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
            labels = _read_begun(out, settings)
        detector = make_detector(DEFAULT, choose_device(device)) if boxes is None else BoxesFile(boxes)
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


def _read_begun(out: Path, settings: dict[str, Any]) -> LabeledSet:
    """Labels of an earlier run of the same command."""
    labels = read_coco(out)
    if labels.extra.get(_SETTINGS) != settings:
        raise InvalidValueError(f"{out} was made with other teachers, boxes or limits; choose another --out")
    return labels


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
