import importlib.util
import inspect
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import ModuleSpec

import pytest
import torch

from mspn.cli.predict import predict_command
from mspn.config.recipes import RECIPES
from mspn.inference.devices import Engine, Precision
from mspn.inference.engines import EngineChoice, choose_engine
from mspn.inference.quantization import CalibrationRanges, calibrate_activations
from mspn.inference.runner import Runner, load_runner
from mspn.models import build_network
from mspn.models.base import PoseNetwork
from mspn.predict.estimator import PoseEstimator
from mspn.predict.top_down import TopDownConfig
from tests.config.test_every_recipe import small

CPU = torch.device("cpu")


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspn.inference.engines.find_spec", lambda name: ModuleSpec(name, None))


def _network() -> PoseNetwork:
    torch.manual_seed(6)
    return build_network(small(RECIPES["resnet18-2"]).model).eval()


@cache
def _runner(engine: Engine, precision: Precision) -> Runner:
    """The network of these tests in an engine; made once, since its export takes a second."""
    return Runner(_network(), CPU, precision, engine, _ranges() if precision == "int8" else None)


@cache
def _ranges() -> CalibrationRanges:
    return calibrate_activations(_network(), _crops())


def _crops() -> torch.Tensor:
    return torch.randint(0, 256, (9, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


@pytest.mark.usefixtures("everything_installed")
def test_the_default_engine_is_torch_whatever_is_installed():
    assert choose_engine("auto", "bfloat16", CPU) == EngineChoice("torch", "bfloat16")
    assert choose_engine("auto", "float32", CPU) == EngineChoice("torch", "float32")
    assert choose_engine("auto", "bfloat16", torch.device("cuda")) == EngineChoice("torch", "bfloat16")


def test_everything_that_chooses_an_engine_has_the_same_default():
    defaults = {
        inspect.signature(load_runner).parameters["engine"].default,
        inspect.signature(PoseEstimator).parameters["engine"].default,
        TopDownConfig().engine,
        inspect.signature(predict_command).parameters["engine"].default.value,
    }

    assert defaults == {"auto"}


def test_onnxruntime_computes_in_float32():
    assert choose_engine("onnxruntime", "auto", CPU) == EngineChoice("onnxruntime", "float32")
    with pytest.raises(ValueError, match="onnxruntime has no bfloat16 on CPUs; use precision float32"):
        choose_engine("onnxruntime", "bfloat16", CPU)


@pytest.mark.usefixtures("everything_installed")
def test_the_default_for_int8_is_openvino():
    assert choose_engine("auto", "int8", CPU) == EngineChoice("openvino", "int8")
    assert choose_engine("onnxruntime", "int8", CPU) == EngineChoice("onnxruntime", "int8")


def test_onnxruntime_computes_int8_without_openvino(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mspn.inference.engines.find_spec", lambda _name: None)

    assert choose_engine("auto", "int8", CPU) == EngineChoice("onnxruntime", "int8")


@pytest.mark.parametrize(("engine", "device"), [("torch", "cpu"), ("auto", "cuda")])
def test_torch_and_gpus_have_no_int8(engine: Engine, device: str):
    with pytest.raises(ValueError, match="int8 is for engines openvino and onnxruntime on --device cpu; use these"):
        choose_engine(engine, "int8", torch.device(device))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_of_the_cpu_are_refused_on_others(engine: Engine):
    with pytest.raises(ValueError, match=f"engine {engine} computes on the CPU, not on cuda"):
        choose_engine(engine, "float32", torch.device("cuda"))


@pytest.mark.parametrize(("engine", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_engine_names_its_extra(engine: Engine, extra: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, engine, None)

    with pytest.raises(ValueError, match=rf"engine {engine} is not installed; pip install 'mspn\[{extra}\]'"):
        Runner(_network(), CPU, "float32", engine)


def test_engines_need_onnx(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(ValueError, match=r"takes networks in onnx's format; pip install 'mspn\[onnx\]'"):
        Runner(_network(), CPU, "float32", "onnxruntime")


@pytest.mark.parametrize(
    ("engine", "precision", "tolerance"),
    [("onnxruntime", "float32", 1e-5), ("openvino", "float32", 1e-5), ("openvino", "bfloat16", 0.1)],
)
def test_every_engine_gives_torchs_answers(engine: Engine, precision: Precision, tolerance: float):
    _skip_without(engine)

    expected = _runner("torch", "float32")(_crops())
    answered = _runner(engine, precision)(_crops())

    assert answered.dtype == torch.float32
    assert (answered - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_int8_gives_nearly_torchs_answers(engine: Engine):
    _skip_without(engine)
    _skip_without("onnxruntime")

    expected = _runner("torch", "float32")(_crops())
    answered = _runner(engine, "int8")(_crops())

    assert answered.dtype == torch.float32
    assert (answered - expected).norm() < 0.15 * expected.norm()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_other_engines_take_the_networks_own_size_only(engine: Engine):
    _skip_without(engine)

    with pytest.raises(ValueError, match=r"crops are 64x64 pixels, but this network is for 64x32; only .* torch"):
        _runner(engine, "float32")(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_threads_get_their_own_answers(engine: Engine):
    _skip_without(engine)
    runner = _runner(engine, "float32")
    generator = torch.Generator().manual_seed(9)
    batches = torch.randint(0, 256, (4, 8, 64, 32, 3), dtype=torch.uint8, generator=generator)
    expected = [runner(batch) for batch in batches]
    begin = threading.Barrier(len(batches))

    def answer(index: int) -> list[torch.Tensor]:
        begin.wait()
        return [runner(batches[index]) for _ in range(20)]

    with ThreadPoolExecutor(len(batches)) as pool:
        answers = list(pool.map(answer, range(len(batches))))

    for maps, of_thread in zip(expected, answers, strict=True):
        assert all(torch.equal(maps, answered) for answered in of_thread)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_with_threads_is_refused_in_a_forked_process(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    _skip_without(engine)
    runner = _runner(engine, "float32")
    monkeypatch.setattr("os.getpid", lambda: 0)

    with pytest.raises(ValueError, match=f"engine {engine} was made before this process was forked.*'spawn'"):
        runner(torch.zeros(1, 64, 32, 3, dtype=torch.uint8))


def test_a_network_in_training_mode_stays_as_it_is_and_answers_as_in_eval_mode():
    network = _network()
    crops = torch.randint(0, 256, (3, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    expected = Runner(network, CPU, "float32", "torch")(crops)
    network.train()
    next(iter(network.children())).eval()
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    answered = Runner(network, CPU, "float32", "torch")(crops)

    torch.testing.assert_close(answered, expected)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_many_crops_are_answered_as_one_at_a_time():
    crops = torch.randint(0, 256, (11, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))
    runner = Runner(_network(), CPU, "float32", "torch")

    together = runner(crops)

    alone = torch.cat([runner(crop[None]) for crop in crops])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * alone.abs().max().item())


def _skip_without(engine: str) -> None:
    for library in (engine, "onnx"):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
