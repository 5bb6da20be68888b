"""Conversion of checkpoints: MSPN and RSN (the released codes, MMPose), in reverse, too; simple baselines."""

import re
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mspn.checkpoints.convert.external import Layout
from mspn.checkpoints.convert.mspn import convert_mspn, to_layout
from mspn.checkpoints.convert.simple_baseline import convert_simple_baseline, is_simple_baseline
from mspn.checkpoints.format import Checkpoint, CheckpointMetadata
from mspn.checkpoints.torch_file import read_torch_file
from mspn.config.recipe import Recipe
from mspn.errors import WeightsError
from mspn.io.files import replacing
from mspn.models.base import PoseNetwork
from mspn.models.mspn import MSPN
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import SKELETONS, unnamed_skeleton


def read_external(path: Path) -> Checkpoint:
    """Read an MSPN or RSN of the released codes or of MMPose, or a simple baseline.

    Stages, depths, widths and keypoints are read off the tensors. The crop size is not in them: the default is taken.

    Files are opened with `weights_only=True`: nothing in them is executed.

    Raises:
        WeightsError: if the file is missing, cannot be read safely, or holds another network.
    """
    tensors = _find_tensors(read_torch_file(path), path)
    try:
        converted = (convert_simple_baseline if is_simple_baseline(tensors) else convert_mspn)(tensors, path)
    except ValidationError as error:
        raise WeightsError(
            f"{path} holds a network of a shape that is not built here: {first_problem(error)}"
        ) from error
    model, config = converted.network, converted.network.config
    own = model.state_dict()
    # Copies, as tensors of a file may share their numbers.
    tensors = {
        name: tensor.to(own[name].dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in converted.tensors.items()
    }
    model.load_state_dict(tensors, assign=True)
    # Of several with as many keypoints, the first.
    known = {len(skeleton.keypoints): name for name, skeleton in reversed(SKELETONS.items())}
    skeleton = known.get(config.num_keypoints, unnamed_skeleton(config.num_keypoints).name)
    recipe = Recipe(name=path.stem, skeleton=skeleton, model=config, test=converted.test)
    return Checkpoint(
        CheckpointMetadata(recipe=recipe, notes=f"converted from {path.name} ({converted.layout})"), model.eval()
    )


def write_external(path: Path, model: PoseNetwork, layout: Layout) -> None:
    """Write an MSPN or RSN as a checkpoint of the released code or of MMPose, atomically.

    Raises:
        WeightsError: for a network that has no such layout.
    """
    if not isinstance(model, MSPN):
        raise WeightsError(f"only an MSPN has the {layout} layout, not a {model.config.summary}")
    tensors = to_layout(model, layout)
    content = {"model": tensors} if layout == "official" else {"state_dict": tensors, "meta": {}}
    with replacing(path, RuntimeError) as temporary:
        torch.save(content, temporary)


def _find_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint, under the names of the current MMPose where they are MMPose's."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    is_table = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not is_table:
        raise WeightsError(f"{path} holds no table of tensors; is it a checkpoint of MSPN or MMPose?")
    tensors = {}
    for key, tensor in content.items():
        name = re.sub(r"^keypoint_head\.", "head.", key.removeprefix("module."))
        if name in tensors:
            raise WeightsError(f"{path} has {name!r} twice, with and without a prefix")
        if not name.startswith("data_preprocessor."):
            tensors[name] = tensor
    return tensors
