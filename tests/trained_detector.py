"""A tiny person detector and what it is trained on; the trained one is made once for all tests."""

import json
from pathlib import Path

from mspn.config.data import SceneConfig, SceneDataConfig, SceneSetConfig
from mspn.config.model import DetectorConfig
from mspn.config.recipe import DetectorRecipe, override
from mspn.config.train import TrainConfig
from mspn.training.loop import train
from tests.drawn_people import write_drawn_set
from tests.made_once import made_once


def tiny_detector_recipe(folder: Path, *, iterations: int) -> DetectorRecipe:
    """A narrow network on images of two drawn people each, all labeled, one of them proposed too."""
    annotations = write_drawn_set(folder, num_images=4, people_per_image=2)
    rows = json.loads(annotations.read_text())
    first = rows["annotations"][0]["bbox"]
    (folder / "people_boxes.json").write_text(json.dumps({rows["images"][0]["file_name"]: [[*first, 0.9]]}))
    drawn = SceneSetConfig(annotations="annotations.json", images="images", proposals="people_boxes.json", weight=2.0)
    return DetectorRecipe(
        name="tiny-detector",
        model=DetectorConfig(backbone="resnet18", stem_channels=16, up_channels=16, longer_side=96),
        scene=SceneConfig(side=96, scale=(1.0, 1.0), mosaic_probability=0.2, paste_probability=0.2),
        data=SceneDataConfig(root=str(folder), train=(drawn,), validation=drawn, workers=0),
        train=TrainConfig(
            iterations=iterations,
            batch_size=4,
            learning_rate=1e-2,
            warmup_iterations=5,
            checkpoint_every=2,
            validate_every=1000,
        ),
    )


def overfitted_detector() -> tuple[Path, Path]:
    """Folder of drawn people, and the weights of a detector that has learned to find them; as slow as `overfitted`."""
    folder = made_once("overfitted_detector", _overfit) / "set"
    return folder, folder / "run" / "weights.safetensors"


def _overfit(folder: Path) -> None:
    settings = ["train.checkpoint_every=80", "train.learning_rate=2e-2"]
    recipe = override(tiny_detector_recipe(folder / "set", iterations=80), settings)
    train(recipe, folder / "set" / "run", resume=False)
