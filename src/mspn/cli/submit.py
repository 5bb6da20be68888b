"""mspn submit: the zip that COCO's evaluation server takes."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.evaluate import exit_if_failed, make_estimator, quiet_followers
from mspn.cli.options import (
    BatchOption,
    BoxSelectionName,
    BoxSelectionOption,
    DeviceOption,
    FlipOption,
    ModelsOption,
    PrecisionName,
    PrecisionOption,
    ProtocolOption,
    ProtocolSettingsOption,
    WeightsOption,
)
from mspn.cli.printing import echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import joined_processes
from mspn.evaluation.submission import check_submission_name, submit_people
from mspn.inference.devices import keep_freed_memory


def submit_command(
    models: ModelsOption,
    annotations: Annotated[Path, typer.Option(help="COCO file that names the images, image_info_*.json.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    boxes: Annotated[Path, typer.Option(help="Detected boxes: the server's images have no labeled ones.")],
    out: Annotated[Path, typer.Option(help="Zip to write, person_keypoints_SPLIT_NAME_results.zip.")],
    weights: WeightsOption = None,
    box_selection: BoxSelectionOption = BoxSelectionName.PEOPLE,
    protocol: ProtocolOption = None,
    settings: ProtocolSettingsOption = None,
    flip: FlipOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.FLOAT32,
    batch: BatchOption = 32,
) -> None:
    """Predict everyone in the images of a COCO split and write the zip for COCO's server.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m mspn submit ...
    """
    keep_freed_memory()
    with one_line_errors(), joined_processes() as processes:
        quiet_followers(processes)
        check_submission_name(out)
        detected = BoxesFile(boxes, box_selection.value)
        estimator = make_estimator(models, weights, protocol, settings, device, precision, batch, flip)
        with show_count(processes) as show:
            predictions = submit_people(estimator, annotations, images, detected, out, processes, show)
        if not processes.is_first:
            return
    echo(f"submission: {out} ({len(predictions.rows)} people)")
    exit_if_failed(predictions.failed)
