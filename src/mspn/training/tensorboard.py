"""A run's metrics for TensorBoard (the extra `log`)."""

from pathlib import Path
from typing import TYPE_CHECKING

from mspn.errors import InvalidValueError
from mspn.io.images import read_image
from mspn.training.metrics import EpochMetrics
from mspn.training.sample_sheets import SHEET_FILE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FOLDER = "tensorboard"


class TensorBoardLog:
    """The folder `tensorboard` of a run folder, with the lines of the metrics as curves over iterations."""

    def __init__(self, run: Path, iteration: int) -> None:
        """Open the log; curves after `iteration` are dropped, since training redoes those.

        At the start of a run the sheet of training crops is written too, if it is in the run folder.

        Raises:
            ValueError: if TensorBoard is not installed.
        """
        self._writer = _open_writer(run / _FOLDER, iteration)
        if iteration == 0 and (run / SHEET_FILE).is_file():
            self._writer.add_image("crops", read_image(run / SHEET_FILE), 1, dataformats="HWC")

    def append(self, line: EpochMetrics) -> None:
        values = {
            "loss/total": line.loss,
            "learning_rate": line.learning_rate,
            "speed/samples_per_second": line.samples_per_second,
            "speed/waiting_share": line.waiting_share,
            "memory_mib": line.memory_mib,
        }
        for stage, levels in enumerate(line.losses, start=1):
            for level, loss in enumerate(levels, start=1):
                values[f"loss_stage_{stage}/level_{level}"] = loss
        for name, value in (line.validation or {}).items():
            values[f"validation/{name}"] = value
        for name, value in values.items():
            self._writer.add_scalar(name, value, line.iteration)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _open_writer(folder: Path, iteration: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra, needed here alone
    except ImportError as error:
        raise InvalidValueError(
            "TensorBoard is not installed; pip install 'mspn[log]', or leave train.tensorboard off"
        ) from error
    return SummaryWriter(str(folder), purge_step=iteration + 1)
