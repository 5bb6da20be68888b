"""onnxruntime-web, which runs networks in browsers: npm's package of one version, and the files that a site takes."""

import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from mspn.checkpoints.hub import is_offline
from mspn.errors import DownloadError, FileError
from mspn.io.files import replacing, sha256_of

VERSION = "1.30.0"
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_NPM_SECONDS = 600

WASM = {"script": "ort.wasm.bundle.min.mjs", "binary": "ort-wasm-simd-threaded.wasm"}
WEBGPU = {"script": "ort.jspi.bundle.min.mjs", "binary": "ort-wasm-simd-threaded.jspi.wasm"}
"""The variant that waits for the GPU by JSPI, as large as the one without; browsers without JSPI run `WASM`."""


def package_file(folder: Path) -> Path:
    """Where `find_package` keeps the package in a folder."""
    return folder / f"onnxruntime-web-{VERSION}.tgz"


def find_package(folder: Path) -> Path:
    """The package in a folder, such as the cache; npm downloads it, from the registry that it is set up with.

    Raises:
        DownloadError: if it must be downloaded and cannot.
    """
    package = package_file(folder)
    if not package.is_file():
        _download(package)
    return check_package(package)


def check_package(package: Path) -> Path:
    """See that a file is the package of this version.

    Raises:
        FileError: if there is no such file, or it is another one.
    """
    if not package.is_file():
        raise FileError(f"no package of onnxruntime-web at {package}; npm pack onnxruntime-web@{VERSION} downloads it")
    if (digest := sha256_of(package)) != _SHA256:
        raise FileError(
            f"{package} is not onnxruntime-web {VERSION}: its SHA-256 begins with {digest[:8]}, not {_SHA256[:8]};"
            " remove it and try again"
        )
    return package


def read_members(package: Path, names: list[str]) -> dict[str, bytes]:
    """Files of the folder `dist` of a package that `check_package` knows."""
    with tarfile.open(package) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in names}
        return {name: member.read() for name, member in members.items() if member is not None}


def _download(package: Path) -> None:
    wanted = f"onnxruntime-web@{VERSION}"
    if is_offline():
        raise DownloadError(f"{wanted} is not in the cache, and MSPN_OFFLINE is set; give its file with --runtime")
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(
            f"{wanted}, which runs networks in browsers, is downloaded by npm, which is not installed; install Node.js,"
            " or give the package's file with --runtime"
        )
    with TemporaryDirectory() as folder:
        command = [npm, "pack", wanted, "--pack-destination", folder, "--silent"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=_NPM_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise DownloadError(
                f"npm could not download {wanted}; is there a connection? {' '.join(command[1:3])} shows what it says"
            ) from error
        with replacing(package) as temporary:
            shutil.copyfile(Path(folder) / package.name, temporary)
