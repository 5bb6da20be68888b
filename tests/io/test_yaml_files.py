from pathlib import Path

import pytest

from mspn.errors import YamlError
from mspn.io.files import read_yaml


def test_a_file_becomes_plain_values(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("a: [1, 2.5, x]\nb: {c: null}")

    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2.5, "x"], "b": {"c": None}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", r"a\.yaml is not YAML \(.*\)"),
        (b"\xff\xfe\x00", r"a\.yaml is not YAML \(.*\)"),
        (b"a: !!python/object/apply:os.getcwd []", r"a\.yaml is not YAML \(could not determine a constructor"),
        (b"a: &x [1]\nb: [*x, *x]", r"a\.yaml has an alias \(\*name\); write out what it stands for"),
        (b"#" * (2**20 + 1), r"a\.yaml is larger than a megabyte"),
    ],
    ids=["damaged", "no text", "code", "alias", "large"],
)
def test_what_is_no_small_plain_yaml_is_refused(content: bytes, message: str, tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(content)

    with pytest.raises(YamlError, match=message) as caught:
        read_yaml(tmp_path / "a.yaml")

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(YamlError, match=r"no file at .*a\.yaml; check the path"):
        read_yaml(tmp_path / "a.yaml")
