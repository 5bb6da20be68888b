"""mspn models export, prove, prepare: networks as files of other runtimes; mspn page: networks that run in browsers."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint, load_checkpoint, load_detector, read_metadata
from mspn.checkpoints.hub import cache_folder, writing_to
from mspn.checkpoints.metadata import DetectorMetadata
from mspn.cli.options import find_with_bar
from mspn.cli.printing import USAGE_ERROR, echo, fail, one_line_errors
from mspn.cli.weights import MAX_CALIBRATION_PEOPLE, crop_people
from mspn.detectors import DEFAULT, EMBEDDED
from mspn.errors import ExportError
from mspn.export.files import check_exportable, open_program, write_export
from mspn.export.graphs import Export, Inside, Source, build_detector_export, build_pose_export
from mspn.export.proof import (
    Proof,
    check_unchanged,
    files_of,
    proof_path,
    prove_detector,
    prove_pose_network,
    sample_images,
    sample_people,
    write_proof,
)
from mspn.inference.exported import FEW_IMAGES, prepared_files
from mspn.inference.exported_files import (
    SUFFIXES,
    ExportPrecision,
    OpenFile,
    PoseExportMetadata,
    compiled_folder,
    open_file,
)
from mspn.io.files import sha256_of, temporary_folder
from mspn.predict.estimator import PoseEstimator
from mspn.predict.heatmaps import stack_crops
from mspn.serve.site import SiteNetworks, check_package, find_package, write_site

MAX_PROOF_PEOPLE = 64

ImagesOption = Annotated[
    Path | None,
    typer.Option(
        help=f"Folder of images like those to predict: the file is proven on {MAX_PROOF_PEOPLE} people of them, --int8"
        f" calibrated on {MAX_CALIBRATION_PEOPLE}. Without it the proof takes the package's sample images."
    ),
]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="COCO labels of --images, to compare average precision on, too.")
]


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
    images: ImagesOption = None,
    annotations: AnnotationsOption = None,
) -> None:
    """Export a network, with the steps around it, for other runtimes, languages and devices.

    The file is run beside torch at once, and the comparison is stored beside it; beyond a bound, exit code is 2.
    """
    with one_line_errors():
        if half and int8:
            fail("--half and --int8 exclude each other; leave one out")
        if int8 and images is None:
            fail("--int8 needs --images, a folder of images to calibrate on")
        precision: ExportPrecision = "float16" if half else "int8" if int8 else "float32"
        inside = Inside(with_preprocessing, with_decoding, precision)
        weights = find_with_bar(model)
        checkpoint = _load(weights)
        check_exportable(destination, inside, is_detector=isinstance(checkpoint, DetectorCheckpoint))
        _check_sample(checkpoint, images, annotations)
        source = Source(weights.stem, sha256_of(weights))
        export, crops = _build(checkpoint, source, inside), None
        if int8 and images is not None and isinstance(checkpoint, Checkpoint):
            crops = stack_crops(crop_people(PoseEstimator(checkpoint, device="cpu"), images))
        write_export(export, destination, crops)
        echo(f"{destination}: {_describe(export)}")
        if destination.suffix not in SUFFIXES:
            echo(f"{destination}: not proven, since {destination.suffix} does not run here", err=True)
            return
        file = open_program(destination) if destination.suffix == ".pt2" else open_file(destination)
        proof = _prove(file, checkpoint, source, images, annotations)
        write_proof(destination, proof)
    _conclude(destination, proof)


def prove_command(
    path: Annotated[Path, typer.Argument(help="A file that `mspn models export` wrote.")],
    model: Annotated[
        str | None, typer.Option(help="The weights that it was exported from; without it by the name in the file.")
    ] = None,
    images: ImagesOption = None,
    annotations: AnnotationsOption = None,
) -> None:
    """Compare an exported file with its weights again; a file that was changed fails."""
    with one_line_errors():
        file = open_file(path)
        told = file.metadata
        if told is None:
            fail(f"{path} does not say which weights it was exported from; only files of this package do")
        check_unchanged(path, told)
        weights = find_with_bar(model or told.weights)
        source = Source(weights.stem, sha256_of(weights))
        if source.sha256 != told.weights_sha256:
            fail(f"{weights} is not what {path} was exported from: its SHA-256 differs; name the weights with --model")
        checkpoint = _load(weights)
        if isinstance(checkpoint, Checkpoint) != isinstance(told, PoseExportMetadata):
            fail(f"{path} says that it is a {told.kind}, which {weights} is not; export it again")
        _check_sample(checkpoint, images, annotations)
        proof = _prove(file, checkpoint, source, images, annotations)
        if not proof.failures:
            write_proof(path, proof)
    _conclude(path, proof)


def prepare_command(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names of models or weights files; without any, default.")
    ] = None,
) -> None:
    """Export networks into the cache, after which `mspn predict` starts without torch.

    The person detector is exported with them, for each runtime that is installed: onnxruntime, which starts sooner, and
    OpenVINO, which is faster.
    """
    with one_line_errors():
        for name in dict.fromkeys([*(models or [DEFAULT]), EMBEDDED]):
            weights = find_with_bar(name)
            paths = prepared_files(weights)
            if not paths:
                fail("no runtime is installed that could run it; pip install 'mspn[openvino,onnx]', or 'mspn[onnx]'")
            is_limited = all(path.suffix == ".onnx" for path in paths)
            for path in paths:
                _prepare_once(name, weights, path)
    limits = f" for up to {FEW_IMAGES} images, or with --precision float32" if is_limited else ""
    echo(f"`mspn predict` starts without torch from now on{limits}")


def _prepare_once(name: str, weights: Path, path: Path) -> None:
    if path.suffix == ".xml":
        with writing_to(path.parent):
            compiled_folder(path).mkdir(parents=True, exist_ok=True)
    if _can_open(path):
        echo(f"{name}: prepared before, {path}")
        return
    start = time.perf_counter()
    with writing_to(path.parent):
        _prepare(weights, path)
    open_file(path, "auto")  # as `mspn predict` does, so that it is compiled already
    echo(f"{name}: {path}, proven, after {time.perf_counter() - start:.0f} s")


def _can_open(path: Path) -> bool:
    try:
        open_file(path)
    except ExportError:
        return False
    return True


def _prepare(weights: Path, path: Path) -> None:
    """Put a file that was proven in place at once, its tensors before what describes them."""
    checkpoint, source = _load(weights), Source(weights.stem, sha256_of(weights))
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as folder:
        made = folder / path.name
        write_export(_build(checkpoint, source, Inside(preprocessing=True, decoding=True)), made)
        proof = _prove(open_file(made), checkpoint, source, None, None)
        if proof.failures:
            fail(f"{weights} is not what its export computes ({'; '.join(proof.failures)}); nothing was prepared")
        for file in reversed(files_of(made)):
            file.replace(path.with_name(file.name))


def _build(checkpoint: Checkpoint | DetectorCheckpoint, source: Source, inside: Inside) -> Export:
    if isinstance(checkpoint, DetectorCheckpoint):
        return build_detector_export(checkpoint, source, inside)
    return build_pose_export(checkpoint, source, inside)


def _load(weights: Path) -> Checkpoint | DetectorCheckpoint:
    return load_detector(weights) if isinstance(read_metadata(weights), DetectorMetadata) else load_checkpoint(weights)


def _check_sample(checkpoint: Checkpoint | DetectorCheckpoint, images: Path | None, annotations: Path | None) -> None:
    if isinstance(checkpoint, DetectorCheckpoint) and (images is not None or annotations is not None):
        fail("--images and --annotations are for pose networks; a detector is proven on the package's sample images")
    if annotations is not None and images is None:
        fail("--annotations needs --images, the folder of the labeled images")


def _prove(
    file: OpenFile,
    checkpoint: Checkpoint | DetectorCheckpoint,
    source: Source,
    images: Path | None,
    annotations: Path | None,
) -> Proof:
    if isinstance(checkpoint, DetectorCheckpoint):
        return prove_detector(file, checkpoint, source, sample_images(), "the package's sample images")
    skeleton = checkpoint.metadata.recipe.keypoint_table
    detector = "default" if images is not None and skeleton.is_of_people else "none"
    estimator = PoseEstimator(checkpoint, detector, device="cpu")
    if images is None:
        people, sample = sample_people(estimator.top_down), "the package's sample images"
    else:
        people, sample = crop_people(estimator, images, MAX_PROOF_PEOPLE), str(images)
    labels = None if annotations is None or images is None else (annotations, images)
    return prove_pose_network(file, checkpoint, source, people, sample, labels)


def _conclude(path: Path, proof: Proof) -> None:
    """Say what was measured; end with exit code 2 if a bound does not hold."""
    distances = ", ".join(f"{name} {value:.2g}" for name, value in proof.distances_px.items())
    times = ", ".join(f"{name} {value:.1f} ms" for name, value in proof.milliseconds.items())
    echo(f"against torch, {proof.num_crops} crops or images: pixels {distances}; maps {proof.map_error:.2g}; {times}")
    for outlier in proof.outliers:
        echo(f"crop {outlier.crop}, {outlier.keypoint}: {outlier.distance_px:.2f} pixels, peak {outlier.peak:.2f}")
    if proof.average_precision is not None:
        precision = proof.average_precision
        echo(f"average precision: torch {precision.torch:.4f}, exported {precision.exported:.4f}")
    if proof.failures:
        echo(f"error: {path} is not proven: {'; '.join(proof.failures)}", err=True)
        raise typer.Exit(USAGE_ERROR)
    echo(f"proven: {proof_path(path)}")


def _describe(export: Export) -> str:
    """Input and outputs in a line."""
    taken = export.metadata.input
    sides = f"{taken.height}x{taken.width}" if taken.height is not None else "any size"
    return (
        f"{export.metadata.weights} in {export.metadata.precision}, from {taken.name} ({taken.layout}, {taken.type},"
        f" {sides}) to {', '.join(export.metadata.outputs)}"
    )


def page_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write, for any web host.")],
    model: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "mspn-tiny",
    detector: Annotated[
        str, typer.Option(help="Name of a person detector of this package's kind, or its weights file.")
    ] = "person-detector",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Detections with a lower score are hidden until a visitor wants them.")
    ] = 0.3,
    runtime: Annotated[
        Path | None,
        typer.Option(help="File of npm's package onnxruntime-web; without it, npm downloads it into the cache once."),
    ] = None,
) -> None:
    """Write the service's page as files for any web host: its networks run in the visitors' browsers."""
    with one_line_errors():
        package = check_package(runtime) if runtime else find_package(cache_folder())
        pose, persons = find_with_bar(model), find_with_bar(detector)
        networks = SiteNetworks(
            load_checkpoint(pose),
            Source(pose.stem, sha256_of(pose)),
            load_detector(persons),
            Source(persons.stem, sha256_of(persons)),
        )
        files = write_site(folder, networks, threshold=threshold, package=package)
    echo(
        f"{folder}: {len(files)} files, {sum(files.values()) / 1e6:.0f} MB;"
        f" python -m http.server --directory {folder} shows them at http://localhost:8000"
    )
