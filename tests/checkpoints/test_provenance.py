import pytest

from tests.sessions import SESSION


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("mspn train mspn-tiny --out /home/me/runs/tiny --resume", "mspn train mspn-tiny --out tiny --resume"),
        (
            "mspn train x --set data.root=/mnt/photos --set train.seed=1",
            "mspn train x --set data.root=photos --set train.seed=1",
        ),
        ("mspn train x --set train.initial_weights=~/lite0.pth", "mspn train x --set train.initial_weights=lite0.pth"),
        # What is a list or a mapping is no place.
        (
            """mspn train x --set 'data.train=[{"annotations": "a/b.json"}]'""",
            """mspn train x --set 'data.train=[{"annotations": "a/b.json"}]'""",
        ),
        # A file from elsewhere may hold what is no command.
        ("mspn train 'x --out /home/me/runs", """mspn train ''"'"'x' --out runs"""),
    ],
)
def test_a_command_can_be_told_without_the_places(command: str, without: str):
    assert SESSION.model_copy(update={"command": command}).without_places().command == without
