"""How weights came about: when, with which command and versions, from which labels."""

import shlex
from pathlib import PurePath

from mspn.structures.settings import Settings


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
