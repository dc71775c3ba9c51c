"""A build of the recipe that is shipped for MiniLM, by the command"""

from pathlib import Path

import artmodels
import pytest

from artifactstore.store import Store
from tests.cli.calling import done

RECIPE = Path(artmodels.__file__).parent / "recipes" / "minilm-soup.yml"
ARTIFACTS = {"base": "sentence-transformers/all-MiniLM-L6-v2", "a": "minilm/a", "b": "minilm/b"}
CEILING = 8_000_000


def arguments(root):
    """Of the command"""
    out = ["--out", root / "public/soup", "--entry", "minilm"]
    return [RECIPE, "--target", "web", "--level", "q4", "--shard-size", f"{CEILING}", *out]


def built(root, models):
    """A store of the models, by name, and `public/soup` of what became of them"""
    with Store.init(str(root / "store")) as store:
        for name, folder in models.items():
            store.add([folder], name=ARTIFACTS[name], license="Apache-2.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTSTORE_STORE", str(root / "store"))
        done("build", *arguments(root))
