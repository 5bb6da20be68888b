"""The page as a site of files, for any web host: detector and pose network run in the browser.

They run in onnxruntime-web: npm's package of one version, of which a site takes some files.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from torch import nn

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint
from mspn.checkpoints.hub import is_offline
from mspn.checkpoints.index import ASSETS
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS, ScoreCalibration
from mspn.errors import DownloadError, FileError, InvalidValueError
from mspn.export.files import write_export
from mspn.export.graphs import Export, Inside, Source, build_detector_export, build_pose_export
from mspn.export.onnx_file import halve_weights
from mspn.io.files import prepare_folder, replacing, sha256_of
from mspn.serve.answers import PAGE, describe_skeleton
from mspn.serve.guard import CONTENT_SECURITY_POLICY
from mspn.structures.skeleton import Skeleton

_SITE = ASSETS / "site"
"""What only a site has; the rest is the page of the service."""
_SERVICE_WORKER, _LICENSE = "service-worker.js", "LICENSE-onnxruntime.txt"
_POSE, _DETECTOR = "networks/pose.onnx", "networks/detector.onnx"
_HEAD = '<meta charset="utf-8">\n'
_MAX_PIXELS = 25_000_000
"""Of an image; the page makes larger ones smaller first. A phone's browser has room for them."""
_VERSION_DIGITS = 16


class SiteNetworks(NamedTuple):
    """What runs in the browser, and where its weights come from."""

    pose: Checkpoint
    pose_source: Source
    detector: DetectorCheckpoint
    detector_source: Source


def write_site(folder: Path, networks: SiteNetworks, *, threshold: float, package: Path) -> dict[str, int]:
    """Write the page with its networks into a folder, in place of an older one.

    Args:
        folder: made if it is missing; other files in it are left alone.
        networks: to run.
        threshold: lowest score of a detection that is shown at first.
        package: of onnxruntime-web, see `find_package`.

    Returns:
        The bytes of each file, by its path in the folder.

    Raises:
        ExportError: if a library that exports networks is not installed.
        InvalidValueError: if the network is not of people.
        OSError: if the folder cannot be written to.
    """
    if not networks.pose.metadata.recipe.keypoint_table.is_of_people:
        raise InvalidValueError(
            f"{networks.pose_source.name} is not for people, whom the page finds; name another model"
        )
    prepare_folder(folder)
    page = page_files()
    inside = Inside(preprocessing=True, decoding=True)
    pose = build_pose_export(networks.pose, networks.pose_source, inside)
    detector = build_detector_export(networks.detector, networks.detector_source, inside)
    large = {
        _POSE: _onnx_file(pose, networks.pose.model),
        _DETECTOR: _onnx_file(detector, networks.detector.model),
        **{f"runtime/{_plain(name)}": content for name, content in _runtime_files(package).items()},
    }
    description = _describe(networks, threshold)
    description["files"] = {path: len(content) for path, content in large.items()}
    page["site.json"] = json.dumps(description).encode()
    page[_SERVICE_WORKER] = service_worker(page, large)
    # The service worker comes last: by it, browsers see that the site has changed.
    for path, content in {**large, **page}.items():
        with replacing(folder / path) as temporary:
            temporary.write_bytes(content)
    return {path: len(content) for path, content in {**page, **large}.items()}


def page_files() -> dict[str, bytes]:
    """The page of the service, where networks in the browser take the service's place, by their paths in the site."""
    files = {f"static/{path.name}": path.read_bytes() for path in (*PAGE.iterdir(), *_SITE.iterdir()) if path.is_file()}
    del files[f"static/{_SERVICE_WORKER}"]
    markup = files.pop("static/index.html").decode()
    # WebAssembly counts as a script that the page makes itself.
    policy = CONTENT_SECURITY_POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
    assert _HEAD in markup
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    files["index.html"] = markup.replace(_HEAD, _HEAD + meta, 1).encode()
    files["runtime/LICENSE.txt"] = files.pop(f"static/{_LICENSE}")
    files["static/sample/scene.jpg"] = (ASSETS / "sample" / "scene.jpg").read_bytes()
    return files


def _onnx_file(export: Export, network: nn.Module) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_export(export, path)
        return halve_weights(path.read_bytes(), network)


def _runtime_files(package: Path) -> dict[str, bytes]:
    return read_members(package, [*WASM.values(), *WEBGPU.values()])


def _plain(name: str) -> str:
    """As a file that every host knows to be JavaScript."""
    return name.replace(".mjs", ".js")


def _describe(networks: SiteNetworks, threshold: float) -> dict[str, Any]:
    """What the page must know; `LocalService` reads it."""
    recipe = networks.pose.metadata.recipe
    protocol, (height, width) = recipe.test, recipe.model.input_size
    suppression = PREDICTION_SUPPRESSION_OKS if protocol.suppression_oks is None else protocol.suppression_oks
    return {
        "name": networks.pose_source.name,
        "skeleton": {
            **describe_skeleton(recipe.keypoint_table),
            "sigmas": list(recipe.keypoint_table.sigmas),
            "category": recipe.keypoint_table.category,
        },
        "threshold": threshold,
        "suppression_oks": suppression,
        "limits": {"max_pixels": _MAX_PIXELS},
        "pose": {
            "file": _POSE,
            "input": {"width": width, "height": height},
            "protocol": {
                **protocol.model_dump(include={"padding", "rescoring", "score_offset"}),
                "oks_predictor": describe_oks_predictor(
                    networks.pose.metadata.score_calibration, recipe.keypoint_table
                ),
            },
        },
        "detector": {"file": _DETECTOR, "longer_side": networks.detector.model.config.longer_side},
        "runtimes": {
            provider: {part: f"runtime/{_plain(name)}" for part, name in names.items()}
            for provider, names in (("wasm", WASM), ("webgpu", WEBGPU))
        },
    }


def describe_oks_predictor(calibration: ScoreCalibration | None, skeleton: Skeleton) -> dict[str, Any] | None:
    """What the page ranks poses with, if there is anything."""
    if calibration is None or calibration.oks_predictor is None:
        return None
    return {
        **calibration.oks_predictor.model_dump(include={"layers"}),
        "mirror_order": list(skeleton.mirror_order),
    }


def service_worker(page: dict[str, bytes], large: dict[str, bytes]) -> bytes:
    """The script that keeps the site's files in the browser; it knows which there are, and their version."""
    digest = hashlib.sha256()
    for path, content in sorted({**page, **large}.items()):
        digest.update(f"{path} {hashlib.sha256(content).hexdigest()}\n".encode())
    site = {"version": digest.hexdigest()[:_VERSION_DIGITS], "first": sorted(page), "files": sorted([*page, *large])}
    return f"const SITE = {json.dumps(site)};\n".encode() + (_SITE / _SERVICE_WORKER).read_bytes()


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
