"""Models for a hub of the tests: small, whole, and different from each other by their seed"""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from artifactstore.core.registry import Registry
from artifactstore.provision import plan, run
from artifactstore.provision.plan import FetchOptions
from artifactstore.upstream.partial import Partials
from artifactstore.upstream.reach import Reach

CARD = b"---\nlicense: mit\nbase_model: org/base\n---\n# A model\n"
TOKENIZER = json.dumps({"vocab": list(range(40_000))}).encode()


def weights(seed, size=300_000):
    random = np.random.default_rng(seed)
    return save({"a": random.integers(0, 255, size, dtype=np.uint8), "b": np.full(3, seed)})


def whole(seed=0, size=300_000, **more):
    """The files of a model that lacks nothing"""
    config = json.dumps({"vocab_size": 40_000, "seed": seed}).encode()
    files = {"README.md": CARD, "config.json": config, "tokenizer.json": TOKENIZER}
    return files | {"model.safetensors": weights(seed, size)} | more


def total(files):
    return sum(map(len, files.values()))


def registry(*entries, **services):
    """Models named in order a, b, …: `org/one`, or a whole TOML body"""
    text = ""
    for name, entry in zip("abcdefgh", entries, strict=False):
        text += f"[models.{name}]\n" + (entry if "=" in entry else f'source = "hf://{entry}"') + "\n"
    for name, body in services.items():
        text += f"[services.{name}]\n{body}\n"
    return text


class Fetching:
    """A store's fetches from one hub"""

    def __init__(self, depot, hub, folder: Path, warned=(), **options) -> None:
        self.depot, self.hub, self.warned = depot, hub, warned
        self.pauses: list[float] = []
        self.options = FetchOptions(
            **{
                "partials": folder / "partials",
                "root": folder / "root",
                "endpoint": hub.endpoint,
                "reach": Reach(pause=self.pauses.append),
            }
            | options
        )

    def models(self, *entries):
        return list(Registry.read([("test.toml", registry(*entries))]).models.values())

    def plan(self, models, **options):
        return plan.plan(self.depot, models, replace(self.options, **options))

    def run(self, models, *, checked_out=False, **options):
        return run.run(self.depot, self.plan(models, **options), checked_out=checked_out).outcomes

    def version(self, models, **options):
        """That of one model whose fetch succeeds"""
        [outcome] = self.run(models, **options)
        if outcome.error is not None:
            raise outcome.error
        return outcome.version

    def versions(self):
        return [one.ref for one in self.depot.catalog.versions.list(sort="taken")]

    def partials(self):
        return Partials(self.options.partials).stale(timedelta(days=-1))
