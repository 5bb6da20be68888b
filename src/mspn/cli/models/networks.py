"""Networks as commands load them: one or several, tested as they ask or as the options say."""

import dataclasses
from collections.abc import Sequence

from mspn.checkpoints.format import Checkpoint, load_checkpoint
from mspn.cli.errors import fail
from mspn.cli.models.download import find_with_bar
from mspn.config.overrides import override
from mspn.config.recipe import Recipe


def load_with_test_settings(models: Sequence[str], protocol: str | None, settings: Sequence[str]) -> list[Checkpoint]:
    """Load networks by name or file, with test settings that take the place of their own.

    Args:
        models: names or weights files; published ones are downloaded, with a bar.
        protocol: named test settings; None keeps those of the weights.
        settings: "test.NAME=VALUE", each changing one of them.
    """
    changes = [*([f"test={protocol}"] if protocol else []), *settings]
    checkpoints = []
    for model in models:
        checkpoint = load_checkpoint(find_with_bar(model))
        header = checkpoint.header.model_copy(update={"recipe": change_test(checkpoint.header.recipe, changes)})
        checkpoints.append(dataclasses.replace(checkpoint, header=header))
    return checkpoints


def change_test(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with other test settings; any other setting is refused: the weights are made."""
    for setting in settings:
        if not setting.strip().startswith(("test.", "test=")):
            fail(f"--set {setting}: only test settings can be changed here, for example test.blur_kernel=1")
    return override(recipe, settings)
