"""What weights files say about themselves; reading the files is up to `mspn.checkpoints.format`."""

import shlex
from pathlib import PurePath

from pydantic import Field, FiniteFloat, model_validator

from mspn.config.protocol import ScoreCalibration
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.structures.settings import Settings

FORMAT = 3
"""2 renamed keys and values, 3 ranks the poses of calibrated networks by their scores."""


class SetFingerprint(Settings):
    """What tells whether a training set is the same as before."""

    annotations: str
    """File, as the recipe names it."""
    sha256: str
    proposals: str | None = None
    """File of proposed faces or boxes, as the recipe names it."""
    proposals_sha256: str | None = None
    corrections: str | None = None
    """File of corrected labels, as the recipe names it."""
    corrections_sha256: str | None = None
    images: int
    """Images with at least one person to train on; of a detector all images."""
    people: int

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file by its name."""
        proposals, corrections = (self.proposals, self.proposals_sha256), (self.corrections, self.corrections_sha256)
        others = {name: digest for name, digest in (proposals, corrections) if name is not None and digest is not None}
        return {self.annotations: self.sha256} | others


class TrainingSession(Settings):
    """One start of training. The machine's and the user's name are left out, and the home folder is written ~."""

    started: str
    """UTC, ISO 8601."""
    iteration: int
    """Iterations that were done before."""
    command: str
    mspn: str
    git: str | None
    """Commit that the package is checked out at, with "-dirty" behind it where its files were changed; None where it
    is installed without a checkout."""
    python: str
    torch: str
    numpy: str
    opencv: str
    system: str
    processor: str
    gpus: tuple[str, ...]
    threads: int
    """Of the network, in each process."""
    processes: int
    """That train together."""
    data: tuple[SetFingerprint, ...]

    def without_places(self) -> "TrainingSession":
        """With a command that does not say where things lay: of paths, only the last part is left."""
        try:
            words = shlex.split(self.command)
        except ValueError:  # a quotation without its end, which no command of ours has
            words = self.command.split()
        words = [_last_part(word) for word in words]
        return self.model_copy(update={"command": shlex.join(words)})


def _last_part(word: str) -> str:
    """Of a path, or of a setting that is one."""
    name, equals, value = word.partition("=") if "=" in word else ("", "", word)
    return word if value.startswith(("[", "{")) else f"{name}{equals}{PurePath(value).name}"


class AnyMetadata(Settings):
    """What a weights file says about itself."""

    format: int = FORMAT
    recipe: AnyRecipe
    """How the network is built, was trained, and should be tested."""
    data: tuple[str, ...] = ()
    """Sets that it was trained on."""
    license: str = ""
    results: dict[str, float] = Field(default_factory=dict)
    """Average precision by validation set."""
    notes: str = ""
    sessions: tuple[TrainingSession, ...] = ()
    """The starts of training that made it, in their order."""


class CheckpointMetadata(AnyMetadata):
    """Of a pose network."""

    recipe: Recipe
    calibration_ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    """For int8: lowest and highest activation by tensor, see `mspn.inference.quantization`; empty if not calibrated."""
    score_calibration: ScoreCalibration | None = None
    """From the peaks of heat maps to the scores of keypoints; null: the peaks are the scores."""

    @model_validator(mode="after")
    def _check_score_calibration(self) -> "CheckpointMetadata":
        if self.score_calibration is not None:
            given, expected = len(self.score_calibration.offsets), self.recipe.model.num_keypoints
            if given != expected:
                raise ValueError(f"score_calibration is of {given} keypoints, the network has {expected}")
        return self


class DetectorMetadata(AnyMetadata):
    """Of a person detector."""

    recipe: DetectorRecipe
