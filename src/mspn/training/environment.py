"""What a run was made with: versions, machine and data of each session, kept in the run folder."""

import logging
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from mspn.checkpoints.provenance import SetFingerprint, TrainingSession
from mspn.errors import InvalidValueError
from mspn.inference.devices import processor_name
from mspn.io.files import sha256_of, write_text
from mspn.labels.reading import digest_of_labels
from mspn.structures.settings import first_problem

logger = logging.getLogger(__name__)

ENVIRONMENT_FILE = "environment.json"
_GIT_SECONDS = 10


class _EnvironmentFile(BaseModel):
    sessions: tuple[TrainingSession, ...]


def describe_environment(
    run: Path, data_root: str, data: tuple[SetFingerprint, ...], *, iteration: int, num_processes: int
) -> tuple[TrainingSession, ...]:
    """Add this session to the run folder's environment.json; a run that starts anew starts the file anew.

    Files of labels that differ from the first session's are named in a warning.

    Args:
        run: the run folder.
        data_root: of the recipe.
        data: what is trained on.
        iteration: iterations that are done already.
        num_processes: that train together.

    Returns:
        All sessions of the run, this one last.

    Raises:
        ValueError: if the file that is there is damaged.
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
    """The sessions of a run folder so far; none where there is no environment.json.

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
        mspn=version("mspn"),
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
    """What tells a set from another one or from its later self; paths are relative to the root."""
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


def changed_files(before: Sequence[SetFingerprint], now: Sequence[SetFingerprint]) -> list[str]:
    """Files that both have under the same name, with other content."""
    digests = {name: digest for one in before for name, digest in one.files.items()}
    files = [pair for one in now for pair in one.files.items()]
    return [name for name, digest in files if digests.get(name, digest) != digest]


def _command() -> str:
    """How the process was started, without the path of the program and that of the home folder."""
    program, *arguments = sys.argv
    written = shlex.join([Path(program).name, *arguments])
    home = Path.home()
    return written if home == Path(home.anchor) else re.sub(re.escape(str(home)) + r"(?![\w.-])", "~", written)


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that a folder belongs to, see `TrainingSession.git`."""
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        # An installed package may lie within somebody else's checkout, which does not track it.
        _ask([*git, "ls-files", "--error-unmatch", "."])
        return _ask([*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
    except (OSError, subprocess.SubprocessError):
        return None


def _ask(command: Sequence[str]) -> str:
    answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=_GIT_SECONDS)
    return answer.stdout.strip()
