"""mergekit, asked for what it makes of a recipe, as an oracle"""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file


def merged(recipe: dict, out: Path, seed: int | None = None):
    """The tensors that mergekit 0.1.5 makes of a recipe whose models are folders"""
    pytest.importorskip("mergekit", reason="mergekit is the oracle here")
    from mergekit.config import MergeConfiguration  # it takes seconds
    from mergekit.merge import run_merge  # as above
    from mergekit.options import MergeOptions  # as above

    options = MergeOptions(random_seed=seed, copy_tokenizer=False, quiet=True)
    text = yaml.safe_dump(recipe)
    run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), str(out), options, config_source=text)
    return loaded(out)


def loaded(folder: Path):
    """All tensors of a folder"""
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}
