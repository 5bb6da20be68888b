"""Poses in a pipeline of Ray Data that someone has already."""

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
from ray.data import ActorPoolStrategy
from ray.data.block import BlockAccessor

from mspn.batch.predictor import PackedEstimator
from mspn.batch.table import SOURCE, describe_image, make_table
from mspn.errors import InvalidValueError
from mspn.io.images import decode_image
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
from mspn.sources import failures_told, open_source
from mspn.sources.in_memory import read_in_memory
from mspn.structures.image import Image, SourceFailure

_IMAGE, _BYTES, _PATH = "image", "bytes", "path"
_IMAGES_PER_BATCH = 64


def predict_dataset(
    dataset: Any,
    estimator: PoseEstimator | None = None,
    *,
    num_actors: int = 1,
    num_cpus: int = 1,
    num_gpus: float = 0.0,
) -> Any:
    """A `ray.data.Dataset` with the columns of `mspn batch`, but for the source, beside its own.

    >>> import ray  # doctest: +SKIP
    >>> photos = ray.data.read_images("photos/", include_paths=True)  # doctest: +SKIP
    >>> predict_dataset(photos, num_actors=4).write_parquet("poses")  # doctest: +SKIP

    Args:
        dataset: with a column "image" (uint8, (H, W, 3), as `ray.data.read_images` gives), "bytes" (image files, as
            `ray.data.read_binary_files` gives) or "path" (of files, where a video becomes a row for each frame). The
            first of these is used; images and bytes are left out of the result.
        estimator: None: the default one.
        num_actors: processes that predict; leave cores for reading.
        num_cpus: cores of each.
        num_gpus: GPUs of each, or its share of one.

    Raises:
        ValueError: where the dataset is executed, if it has none of these columns.
    """
    return dataset.map_batches(
        DatasetPredictor,
        fn_constructor_args=(PackedEstimator.pack(estimator or PoseEstimator()),),
        batch_size=_IMAGES_PER_BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=num_actors),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


class DatasetPredictor:
    """Adds the poses to tables of images."""

    def __init__(self, packed: PackedEstimator) -> None:
        """Load the networks."""
        self._top_down = packed.unpack().top_down

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table's rows with their poses; a row for each frame where one is a video.

        Raises:
            ValueError: if it has no column of images.
        """
        kind = next((name for name in (_IMAGE, _BYTES, _PATH) if name in table.column_names), None)
        if kind is None:
            raise InvalidValueError(
                f"the dataset has no column image, bytes or path, but {', '.join(table.column_names)}; rename one"
            )
        rows, indices = [], []
        numbers: deque[int] = deque()
        predicted = predict_images(self._top_down, _open(table, kind, numbers), track=True, keep_pixels=False)
        with closing(predicted):
            for result in predicted:
                rows.append(describe_image("", None, result))
                indices.append(numbers.popleft())
        found = make_table(rows).drop_columns([SOURCE, "member"])
        kept = [name for name in table.column_names if name not in (_IMAGE, _BYTES, *found.column_names)]
        result = table.select(kept).take(pa.array(indices, pa.int64()))
        for name in found.column_names:
            result = result.append_column(found.schema.field(name), found[name])
        return result


def _open(table: pa.Table, kind: str, numbers: deque[int]) -> Iterator[Image | SourceFailure]:
    """The images of a table; the number of each one's row is added to `numbers`."""
    for number, value in enumerate(BlockAccessor.for_block(table).to_numpy(kind)):
        name = f"row {number}" if kind != _PATH else str(value)
        images = open_source(name) if kind == _PATH else failures_told(_read(value, name), name)
        for image in images:
            numbers.append(number)
            yield image


def _read(value: Any, name: str) -> Iterator[Image]:
    yield Image(name, decode_image(value, name) if isinstance(value, bytes) else read_in_memory(value))
