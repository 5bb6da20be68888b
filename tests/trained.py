"""A network over-fitted to a few drawn people, made once for all tests that need a network that works."""

from collections.abc import Sequence
from pathlib import Path

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe, override
from mspn.config.train import NO_AUGMENTATION, SupervisionConfig, TrainConfig
from mspn.structures.boxes import Size
from mspn.training.loop import train
from tests.drawn_people import write_drawn_set
from tests.made_once import made_once


def tiny_recipe(folder: Path, *, iterations: int) -> Recipe:
    """Two narrow stages on the drawn set in `folder`."""
    return Recipe(
        name="tiny",
        model=ModelConfig(
            backbone="resnet18", num_stages=2, stem_channels=16, up_channels=32, input_size=Size(192, 128)
        ),
        supervision=SupervisionConfig(foreground_weight=15.0),
        augmentation=NO_AUGMENTATION.model_copy(update={"base_padding": 1.12}),
        data=DataConfig(
            root=str(folder),
            train=(PeopleSetConfig(annotations="annotations.json", images="images", weight=25.0),),
            workers=0,
        ),
        train=TrainConfig(iterations=iterations, batch_size=8, learning_rate=8e-3, warmup_iterations=10),
    )


def small_and_fast(recipe: Recipe, settings: Sequence[str] = ()) -> Recipe:
    """The same in one stage so narrow, with crops so small, that an iteration takes hundredths of a second.

    It learns little.
    """
    narrow = ["model.num_stages=1", "model.stem_channels=8", "model.up_channels=8", "model.input_size=[64, 64]"]
    return override(recipe, [*narrow, "train.batch_size=2", "train.checkpoint_every=2", *settings])


def overfitted() -> tuple[Path, Path]:
    """Folder of a drawn set of eight people, and the weights of a network that has learned them by heart.

    The first test that asks trains the network, and takes 5 s.
    """
    folder = made_once("overfitted", _overfit)
    return folder, folder / "run" / "weights.safetensors"


def _overfit(folder: Path) -> None:
    write_drawn_set(folder, num_images=4, people_per_image=2)
    settings = ["model.num_stages=1", "train.learning_rate=2.4e-2"]
    train(override(tiny_recipe(folder, iterations=90), settings), folder / "run", resume=False)
