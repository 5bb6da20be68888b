from pathlib import Path

import torch

from mspn.checkpoints.format import load_checkpoint, save_weights
from tests.cli.runner import error_line, run
from tests.untrained import untrained, untrained_weights


def test_the_average_of_two_files_is_a_weights_file(tmp_path: Path):
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file, value in zip(files, (1.0, 2.0), strict=True):
        checkpoint = untrained(tmp_path)
        torch.nn.init.constant_(next(checkpoint.model.parameters()), value)
        save_weights(file, checkpoint.model, checkpoint.metadata)
    out = tmp_path / "average.safetensors"

    result = run("models", "average", *files, "--out", out)

    assert result.exit_code == 0, result.output
    assert "average of 2 runs" in result.stdout
    assert (next(load_checkpoint(out).model.parameters()) == 1.5).all()


def test_one_file_alone_is_refused_and_nothing_is_written(tmp_path: Path):
    out = tmp_path / "average.safetensors"

    result = run("models", "average", untrained_weights(tmp_path), "--out", out)

    assert result.exit_code == 2
    assert "needs two weights files or more" in error_line(result)
    assert not out.exists()
