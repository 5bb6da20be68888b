"""mspn models export: networks as files of other runtimes."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from mspn.checkpoints.format import DetectorMetadata, load_checkpoint, load_detector, read_metadata
from mspn.cli.models.convert import MAX_CALIBRATION_PEOPLE, crop_people
from mspn.cli.options import find_with_bar
from mspn.cli.printing import echo, fail, one_line_errors
from mspn.export.build import Export, Inside, Source, build_detector_export, build_pose_export
from mspn.export.files import check_exportable, write_export
from mspn.inference.export_metadata import ExportPrecision
from mspn.io.files import sha256_of
from mspn.predict.estimator import PoseEstimator


def export_command(
    model: Annotated[str, typer.Argument(help="Name of a model or of a person detector, or a weights file.")],
    destination: Annotated[
        Path, typer.Argument(help="File to write: .onnx, .xml (OpenVINO), .pt2 (torch) or .mlpackage (CoreML).")
    ],
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="Take RGB colors from 0 to 255, and normalize them inside.")
    ] = False,
    with_decoding: Annotated[
        bool,
        typer.Option(
            "--with-decoding",
            help="Give keypoints and scores in place of heat maps, with the protocol's flip, filter and decoder inside;"
            " of a detector, boxes after suppression.",
        ),
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Weights in 16 bits, at half the size.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Compute in 8-bit integers, calibrated on --images.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of images like those to predict; --int8 takes up to {MAX_CALIBRATION_PEOPLE} people of them."
        ),
    ] = None,
) -> None:
    """Export a network, with the steps around it, for other runtimes, languages and devices."""
    with one_line_errors():
        if half and int8:
            fail("--half and --int8 exclude each other; leave one out")
        if int8 and images is None:
            fail("--int8 needs --images, a folder of images to calibrate on")
        precision: ExportPrecision = "float16" if half else "int8" if int8 else "float32"
        inside = Inside(with_preprocessing, with_decoding, precision)
        weights = find_with_bar(model)
        is_detector = isinstance(read_metadata(weights), DetectorMetadata)
        check_exportable(destination, inside, is_detector=is_detector)
        source = Source(weights.stem, sha256_of(weights))
        if is_detector:
            export = build_detector_export(load_detector(weights), source, inside)
            write_export(export, destination)
        else:
            checkpoint = load_checkpoint(weights)
            export = build_pose_export(checkpoint, source, inside)
            crops = None
            if images is not None:
                estimator = PoseEstimator(checkpoint, device="cpu")
                crops = torch.from_numpy(crop_people(estimator, images))
            write_export(export, destination, crops)
    echo(f"{destination}: {_describe(export)}")


def _describe(export: Export) -> str:
    """Input and outputs in a line."""
    taken = export.metadata.input
    sides = f"{taken.height}x{taken.width}" if taken.height is not None else "any size"
    return (
        f"{export.metadata.weights} in {export.metadata.precision}, from {taken.name} ({taken.layout}, {taken.type},"
        f" {sides}) to {', '.join(export.metadata.outputs)}"
    )
