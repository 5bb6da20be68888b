import socket
from pathlib import Path

import pytest

pytest.importorskip("ray")

from ray._private.node import Node
from ray.exceptions import RayTaskError

from mspn.batch import run
from mspn.batch.run import ActorSettings, own_error
from mspn.errors import FileError, MspnError, WeightsError


def _of_task(cause: Exception) -> RayTaskError:
    return RayTaskError("predict", "Traceback ...", cause)


def test_an_error_of_a_task_that_a_user_can_mend_is_found_in_what_ray_makes_of_it():
    error = WeightsError("no GPU on this machine")

    assert own_error(_of_task(error).as_instanceof_cause()) is error


def test_a_full_disk_is_found_behind_an_error_of_ray():
    outer = RuntimeError("failed")
    outer.__cause__ = _of_task(OSError(28, "No space left on device"))

    found = own_error(outer)

    assert isinstance(found, OSError)
    assert found.strerror == "No space left on device"


def test_our_own_error_comes_before_the_one_that_it_explains():
    error = FileError("s3://photos: no rights")
    error.__cause__ = OSError("AWS Error ACCESS_DENIED")

    assert own_error(_of_task(error)) is error


def test_a_bug_is_nobodys_to_mend():
    assert own_error(_of_task(KeyError("keypoints"))) is None


@pytest.mark.slow
def test_a_start_that_fails_leaves_no_processes_behind(monkeypatch: pytest.MonkeyPatch):
    started = []

    def fail(_node: Node, _address: str) -> None:
        started.extend(_children())
        raise RuntimeError("too late")

    monkeypatch.setattr(Node, "validate_ip_port", fail)
    monkeypatch.setattr(run, "_STARTS", 1)

    with pytest.raises(MspnError, match="Ray does not start on this machine"):
        run.connected(None, ActorSettings(num_actors=1)).__enter__()

    assert len(started) >= 2  # the raylet, and the server of the cluster's state
    assert not set(started) & set(_children())


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_told_at_once(scheme: str):
    with socket.socket() as bound:  # which nobody listens at
        bound.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{bound.getsockname()[1]}"

        with pytest.raises(MspnError, match=f"no Ray cluster at {address} .*Connection refused.* start one with"):
            run.connected(address, ActorSettings()).__enter__()
