"""mspn serve: poses over HTTP, and a page for people."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.options import (
    BatchOption,
    DetectorOption,
    DetectorSizeOption,
    DeviceOption,
    EngineName,
    EngineOption,
    FlipOption,
    PrecisionName,
    PrecisionOption,
    find_with_bar,
)
from mspn.cli.printing import one_line_errors
from mspn.errors import InvalidValueError, import_extra
from mspn.inference.devices import keep_freed_memory
from mspn.predict.estimator import PoseEstimator


def serve_command(
    model: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "default",
    detector: DetectorOption = "default",
    detector_size: DetectorSizeOption = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Detections with a lower score are dropped, unless a request says.")
    ] = 0.3,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own networks.")] = 1,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must show; without it, anybody is answered.")
    ] = None,
    allow_fetch: Annotated[
        bool, typer.Option("--allow-fetch", help="Let clients name images by public addresses, which are fetched.")
    ] = False,
    label_studio: Annotated[
        str | None,
        typer.Option(help="Address of a Label Studio whose tasks are pre-labeled, such as http://localhost:8080."),
    ] = None,
    label_studio_token_file: Annotated[
        Path | None, typer.Option(help="File with an access token of one of its users, who may see the images.")
    ] = None,
    trusted_proxies: Annotated[
        list[str] | None,
        typer.Option("--trusted-proxy", help="Address of a proxy whose X-Forwarded-For says who the client is."),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of a request.")] = 20 * 2**20,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of an image.")] = 25_000_000,
    max_people: Annotated[int, typer.Option(min=1, help="Of an image.")] = 100,
    max_in_flight: Annotated[int, typer.Option(min=1, help="Requests that are read or answered at once.")] = 64,
    max_waiting: Annotated[int, typer.Option(min=1, help="Images that wait for their poses.")] = 64,
    answer_seconds: Annotated[float, typer.Option(min=0.1, help="Longest wait for an answer.")] = 30.0,
    requests_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Of each client; without it, any number.")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    engine: EngineOption = EngineName.AUTO,
    batch: BatchOption = 32,
    flip: FlipOption = None,
) -> None:
    """Serve poses over HTTP, with a page for people at /."""
    keep_freed_memory()
    with one_line_errors():
        missing = InvalidValueError("mspn serve needs FastAPI and uvicorn; pip install 'mspn[serve]'")
        for library in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets"):
            import_extra(library, missing)
        from mspn.serve.label_studio import label_studio_at  # noqa: PLC0415 (an extra)
        from mspn.serve.limits import ServeLimits  # noqa: PLC0415
        from mspn.serve.server import ServeSettings, read_token, serve  # noqa: PLC0415

        if label_studio_token_file and not label_studio:
            raise InvalidValueError("--label-studio-token-file belongs to --label-studio; give that too")
        token_of_label_studio = read_token(label_studio_token_file) if label_studio_token_file else None
        settings = ServeSettings(
            host=host,
            port=port,
            workers=workers,
            token=read_token(token_file) if token_file else None,
            allow_fetch=allow_fetch,
            label_studio=label_studio_at(label_studio, token_of_label_studio) if label_studio else None,
            trusted_proxies=tuple(trusted_proxies or ()),
            limits=ServeLimits(
                max_bytes=max_bytes,
                max_pixels=max_pixels,
                max_people=max_people,
                max_in_flight=max_in_flight,
                max_waiting=max_waiting,
                answer_seconds=answer_seconds,
                requests_per_second=requests_per_second,
            ),
        )
        find_with_bar(model)
        estimator = PoseEstimator(
            model,
            detector,
            detector_size=detector_size,
            device=device,
            precision=precision.value,
            engine=engine.value,
            batch_size=batch,
            threshold=threshold,
            flip=flip,
        )
        serve(model, estimator, settings)
