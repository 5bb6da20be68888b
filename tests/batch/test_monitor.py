import pytest

pytest.importorskip("ray")

from mspn.batch.monitor import Monitor, Report, Reporter, explain_stall
from mspn.predict.pipeline import ImageResult

ROOM = "Ray has 0 of 2 CPUs free on 1 machine(s)"


class _Method:
    def __init__(self, call):
        self.remote = call


class _Handle:
    """Of a monitor in this process."""

    def __init__(self) -> None:
        self.monitor = Monitor()
        self.add = _Method(self.monitor.add)


def test_a_monitor_adds_up_what_actors_report():
    handle = _Handle()
    reporter = Reporter(handle)
    assert list(handle.monitor.progress().actors) == [reporter.actor]

    reporter.begin_file("a.jpg")
    reporter.count(ImageResult("a.jpg", None, [], ["a.jpg is damaged"]))
    reporter.send()
    progress = handle.monitor.progress()

    assert (progress.num_images, progress.num_people, progress.num_with_problems) == (1, 0, 1)
    assert progress.core_seconds > 0
    assert progress.problems == ["a.jpg is damaged"]
    assert progress.actors[reporter.actor].reading == "a.jpg"

    reporter.count(ImageResult("a.jpg", None, [], []))
    reporter.end_task()

    assert handle.monitor.progress().num_images == 2
    assert handle.monitor.progress().actors[reporter.actor].reading is None


def test_the_first_twenty_problems_are_kept():
    monitor = Monitor()

    for number in range(30):
        monitor.add(Report("one", problems=[f"{number}"]))

    assert monitor.progress().problems == [str(number) for number in range(20)]


def test_a_stall_is_explained_by_what_actors_do():
    monitor = Monitor()
    assert explain_stall(monitor.progress(), ROOM) == f"no actor has started yet, and {ROOM}"

    monitor.add(Report("one"))
    assert explain_stall(monitor.progress(), ROOM).startswith("actors wait for files, or for their rows to be written")

    monitor.add(Report("two", reading="slow.mp4"))
    assert explain_stall(monitor.progress(), ROOM) == "1 of 2 actors work; two has been at slow.mp4 for 0 s"


def test_an_actor_that_is_not_heard_of_any_more_is_not_blamed(monkeypatch: pytest.MonkeyPatch):
    now = 1.0
    monkeypatch.setattr("mspn.batch.monitor.time.monotonic", lambda: now)
    monitor = Monitor()
    monitor.add(Report("killed", reading="a.jpg"))

    now = 31.0
    monitor.add(Report("other", reading="b.jpg"))

    assert list(monitor.progress().actors) == ["other"]


def test_an_actor_that_gets_on_is_not_long_at_its_file(monkeypatch: pytest.MonkeyPatch):
    now = 1.0
    monkeypatch.setattr("mspn.batch.monitor.time.monotonic", lambda: now)
    monitor = Monitor()
    monitor.add(Report("one", reading="long.mp4"))

    now = 51.0
    monitor.add(Report("one", reading="long.mp4", num_images=9))
    now = 61.0
    monitor.add(Report("one", reading="long.mp4"))

    assert monitor.progress().actors["one"].seconds == 10
    assert monitor.progress().seconds == 60
