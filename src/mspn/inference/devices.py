"""What networks run on: devices, number formats, threads, processes, other runtimes, the C library's allocator.

torch is imported by the functions that ask it alone.
"""

import ctypes
import importlib
import logging
import os
import platform
import sys
import threading
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from mspn.errors import InvalidValueError, MspnError, import_extra

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Engine = Literal["auto", "torch", "onnxruntime", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]

_ERRORS_ONLY = 3
"""Of what onnxruntime says by itself."""


def choose_device(name: str) -> "torch.device":
    """The device of that name; "auto" is a GPU that torch can use, NVIDIA's, AMD's or Apple's, else the CPU.

    Raises:
        ValueError: if torch knows no such device or this machine has none.
    """
    import torch  # noqa: PLC0415 (exported networks run without it)

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidValueError(f"no device {name!r}; write auto, cpu, cuda, cuda:1 or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise InvalidValueError(f"device {name!r} is not supported; write auto, cpu, cuda, cuda:1 or mps")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValueError(f"device {name!r} is not available to torch here; use --device cpu") from error
    return device


_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What NVIDIA's driver, AMD's, and the GPUs of Windows have on Linux."""


def may_have_gpu() -> bool:
    """Whether "auto" may be a GPU here; without torch, which knows for sure."""
    if sys.platform == "win32":
        return any(map(find_library, ("nvcuda", "amdhip64")))
    return sys.platform == "darwin" or any(Path(driver).exists() for driver in _GPU_DRIVERS)


def choose_precision(name: Precision, device: "torch.device") -> Precision:
    """The precision to compute in; "auto" takes bfloat16 where the processor supports it.

    Raises:
        ValueError: for an unknown one.
    """
    import torch  # noqa: PLC0415 (exported networks run without it)

    if name not in get_args(Precision):
        raise InvalidValueError(f"no precision {name!r}; there are {', '.join(get_args(Precision))}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _cpu_computes_bfloat16() else "float32"


def check_process(made_in: int, what: str) -> None:
    """Refuse to run, in a forked process, an object that uses threads or a GPU of its parent process.

    Args:
        made_in: id of the process that made the object.
        what: name of the object in the message.

    Raises:
        ValueError: in any other process, where the object would hang.
    """
    if os.getpid() != made_in:
        raise InvalidValueError(
            f"{what} was made before this process was forked, and does not run here; make it in this process, or start"
            " processes with multiprocessing.get_context('spawn')"
        )


def count_threads() -> int:
    """Threads for a network: as many as torch has where it is loaded, else as many as it would take."""
    if loaded := sys.modules.get("torch"):
        return int(loaded.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_one_thread() -> None:
    """OpenMP's threads do not survive a fork: a child would wait forever for those of its parent.

    With one thread, as in the workers of its own DataLoader, torch does not use them.
    """
    if loaded := sys.modules.get("torch"):
        loaded.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_leave_one_thread)


def _cpu_computes_bfloat16() -> bool:
    import torch  # noqa: PLC0415 (exported networks run without it)

    # torch has no public API for this; older and other builds lack the private functions.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, from /proc/cpuinfo on Linux, elsewhere from Python's platform module."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt`, from its malloc.h."""
_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, 2**30),
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, -1),  # never
}
"""Parameter and value by the environment variable that sets the same."""


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it to the system; no effect with other C libraries.

    By default glibc returns tensors of more than 32 MiB and requests new pages for the next, which the kernel clears.
    Commands that run networks call this, except `mspn bench`, which measures what other programs would get. Environment
    variables take precedence.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    c_library = ctypes.CDLL(None)
    for variable, (parameter, value) in _SETTINGS.items():
        if variable not in os.environ:
            c_library.mallopt(parameter, value)


def open_session(path: Path, device: "torch.device | None", failure: type[MspnError], what: str) -> Any:
    """Open a file.

    Args:
        path: of the file.
        device: cuda is used where onnxruntime can; everything else is the CPU, as is None.
        failure: class of the errors.
        what: the file is, in messages.

    Raises:
        MspnError: of class `failure`, if onnxruntime is not installed, or the file is not there or cannot be read.
    """
    onnxruntime = import_extra("onnxruntime", failure(f"running {path} needs onnxruntime; pip install 'mspn[onnx]'"))
    if not path.is_file():
        raise failure(f"no file at {path}; check the path of the {what}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads()
    options.log_severity_level = _ERRORS_ONLY
    providers: list[Any] = ["CPUExecutionProvider"]
    if device is not None and device.type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        else:
            logger.warning("onnxruntime has no CUDA, so %s runs on the CPU; pip install onnxruntime-gpu", path)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no other base
        raise failure(
            f"{path} is no ONNX file that onnxruntime {onnxruntime.__version__} can read ({first_line(error)});"
            " is it whole?"
        ) from error


_CONVERTER = "openvino.tools.ovc"
_importing_openvino = threading.Lock()


def import_openvino(missing: MspnError) -> Any:
    """OpenVINO's package, without its converter of other libraries' models until somebody asks for that.

    The converter takes as long to import as the rest, and reports each import to its makers, with a number for the user
    that it keeps in the home folder. OpenVINO can do without. Where the program has imported OpenVINO itself, it stays.

    Raises:
        MspnError: `missing`, if openvino is not installed.
    """
    with _importing_openvino:
        if "openvino" in sys.modules or _CONVERTER in sys.modules:
            return import_extra("openvino", missing)
        sys.modules[_CONVERTER] = cast(ModuleType, None)
        try:
            openvino = import_extra("openvino", missing)
        finally:
            del sys.modules[_CONVERTER]
        vars(openvino).setdefault("__getattr__", _import_converter)
        return openvino


def _import_converter(name: str) -> Any:
    """What OpenVINO's package has of its converter."""
    if name in ("convert_model", "tools"):
        with suppress(ImportError):
            converter = importlib.import_module(_CONVERTER)
            return converter.convert_model if name == "convert_model" else sys.modules["openvino.tools"]
    raise AttributeError(f"module 'openvino' has no attribute {name!r}")


def openvino_core(missing: MspnError) -> Any:
    """OpenVINO's core, one for the whole process.

    A core puts a stack for signals in place, and when it ends it puts back what it found. Where the first of two ends
    before the second, that is a stack which is gone, and the next signal that Python handles, such as Ctrl-C, a crash.

    Raises:
        MspnError: `missing`, if openvino is not installed.
    """
    return _make_core(import_openvino(missing), os.getpid())  # a forked process has none of the threads of its parent's


@cache
def _make_core(openvino: Any, _process: int) -> Any:
    return openvino.Core()


def first_line(error: Exception) -> str:
    """Of an error of onnxruntime or openvino, whose messages have many."""
    return str(error).strip().partition("\n")[0][:200]
