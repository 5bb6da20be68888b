from pathlib import Path

import pytest

from mspn.errors import DownloadError, FileError
from mspn.serve import site
from mspn.serve.site import VERSION, check_package, find_package, package_file


def test_another_package_is_refused(tmp_path: Path):
    package = package_file(tmp_path)
    package.write_bytes(b"other")

    # SHA-256 of "other".
    with pytest.raises(FileError, match=r"onnxruntime-web-.*tgz is not onnxruntime-web .* begins with d9298a10, not"):
        find_package(tmp_path)


def test_a_missing_file_is_told_with_what_downloads_it(tmp_path: Path):
    with pytest.raises(FileError, match=rf"no package .*none.tgz; npm pack onnxruntime-web@{VERSION} downloads it"):
        check_package(tmp_path / "none.tgz")


def test_nothing_is_downloaded_offline(tmp_path: Path):
    with pytest.raises(DownloadError, match="MSPN_OFFLINE is set; give its file with --runtime"):
        find_package(tmp_path)


def test_without_npm_the_file_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MSPN_OFFLINE")
    monkeypatch.setattr(site.shutil, "which", lambda _: None)

    with pytest.raises(DownloadError, match=r"npm, which is not installed; .* with --runtime"):
        find_package(tmp_path)


def test_an_npm_that_fails_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MSPN_OFFLINE")
    monkeypatch.setattr(site.shutil, "which", lambda _: str(tmp_path / "no-npm"))

    with pytest.raises(
        DownloadError, match=rf"npm could not download onnxruntime-web@{VERSION}; is there a connection"
    ):
        find_package(tmp_path)
    assert list(tmp_path.iterdir()) == []
