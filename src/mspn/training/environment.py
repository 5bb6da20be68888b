"""environment.json of a run folder: versions, machine and data of each session."""

import logging
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from mspn import __version__
from mspn.checkpoints.metadata import SetFingerprint, TrainingSession
from mspn.errors import InvalidValueError
from mspn.inference.devices import processor_name
from mspn.io.files import sha256_of, write_text
from mspn.labels.reading import digest_of_labels
from mspn.structures.settings import first_problem

logger = logging.getLogger(__name__)

ENVIRONMENT_FILE = "environment.json"
_GIT_TIMEOUT_S = 10


class _EnvironmentFile(BaseModel):
    sessions: tuple[TrainingSession, ...]


def describe_environment(
    run: Path, data_root: str, data: tuple[SetFingerprint, ...], *, iteration: int, num_processes: int
) -> tuple[TrainingSession, ...]:
    """Append this session to the run folder's environment.json; a new run replaces the file.

    Warns of each label file that differs from the first session's.

    Args:
        run: the run folder.
        data_root: folder of the recipe's data.
        data: the training sets.
        iteration: number of iterations done so far.
        num_processes: number of processes that train together.

    Returns:
        All sessions of the run, this one last.

    Raises:
        ValueError: if an existing file is damaged.
    """
    earlier = read_sessions(run) if iteration else ()
    session = _describe_session(data, iteration, num_processes)
    if earlier:
        for name in changed_files(earlier[0].data, session.data):
            logger.warning(
                "%s is not what it was when the run %s began; numbers before and after do not compare",
                Path(data_root) / name,
                run,
            )
    sessions = (*earlier, session)
    write_text(run / ENVIRONMENT_FILE, _EnvironmentFile(sessions=sessions).model_dump_json(indent=2) + "\n")
    return sessions


def read_sessions(run: Path) -> tuple[TrainingSession, ...]:
    """The sessions of a run folder so far; empty without an environment.json.

    Raises:
        ValueError: if the file is damaged.
    """
    path = run / ENVIRONMENT_FILE
    if not path.is_file():
        return ()
    try:
        return _EnvironmentFile.model_validate_json(path.read_bytes()).sessions
    except ValidationError as error:
        raise InvalidValueError(
            f"{path} is damaged ({first_problem(error, 'the file')}); move it away to go on"
        ) from error


def _describe_session(data: tuple[SetFingerprint, ...], iteration: int, num_processes: int) -> TrainingSession:
    return TrainingSession(
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        iteration=iteration,
        command=_command(),
        mspn=__version__,
        git=git_commit(Path(__file__).parent),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        opencv=cv2.__version__,
        system=platform.platform(),
        processor=processor_name(),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        threads=torch.get_num_threads(),
        processes=num_processes,
        data=data,
    )


def fingerprint(
    root: Path,
    annotations: str,
    proposals: str | None,
    *,
    corrections: str | None = None,
    images: int,
    people: int,
) -> SetFingerprint:
    """Digests and counts that identify a version of a set; paths are relative to the root."""
    return SetFingerprint(
        annotations=annotations,
        sha256=digest_of_labels(root / annotations),
        proposals=proposals,
        proposals_sha256=None if proposals is None else sha256_of(root / proposals),
        corrections=corrections,
        corrections_sha256=None if corrections is None else sha256_of(root / corrections),
        images=images,
        people=people,
    )


def changed_files(earlier: Sequence[SetFingerprint], later: Sequence[SetFingerprint]) -> list[str]:
    """Names of the files in both whose content differs."""
    earlier_digests = {name: digest for labels in earlier for name, digest in labels.files.items()}
    later_digests = [item for labels in later for item in labels.files.items()]
    return [name for name, digest in later_digests if earlier_digests.get(name, digest) != digest]


def _command() -> str:
    """The command line, without the folder of the program and with `~` for the home folder."""
    program, *arguments = sys.argv
    command = shlex.join([Path(program).name, *arguments])
    home = Path.home()
    return command if home == Path(home.anchor) else re.sub(re.escape(str(home)) + r"(?![\w.-])", "~", command)


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that a folder belongs to, see `TrainingSession.git`."""
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        # An installed package may lie inside another project's checkout, which does not track it.
        _run([*git, "ls-files", "--error-unmatch", "."])
        return _run([*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
    except (OSError, subprocess.SubprocessError):
        return None


def _run(command: Sequence[str]) -> str:
    completed = subprocess.run(command, capture_output=True, check=True, text=True, timeout=_GIT_TIMEOUT_S)
    return completed.stdout.strip()
