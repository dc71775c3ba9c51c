"""Export: a folder of transformers as an ONNX graph in float32

Inputs and outputs are named as transformers.js knows them. Causal language models by onnxruntime-genai's builder, with
their cache; encoders by torch.
"""

import inspect
import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.derive.evaluate.models.quiet import quiet
from artifactstore.derive.extras import need
from artifactstore.derive.web.graph import SMALL

CACHE = ("past_key_values.", "present.")
_CAUSAL = "ForCausalLM"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LAST = 300


def check(config: Mapping[str, Any], ref: str) -> str:
    """The architecture that is to be exported; raise Invalid for one that cannot be, before anything is read"""
    names = config.get("architectures") or ()
    if not names or not isinstance(names[0], str):
        raise Invalid(f"config.json of {ref} names no architecture; ONNX is made of models of transformers", code="web")
    if config.get("quantization_config") is not None:
        raise Invalid(f"{ref} is quantized already; take the model it was made from", code="quantized", model=ref)
    if config.get("is_encoder_decoder"):
        raise Invalid(f"{names[0]} has an encoder and a decoder, which are not exported to ONNX here", code="web")
    if config.get("auto_map"):
        raise Invalid(f"{ref} brings code of its own, which is never run", code="web")
    return str(names[0])


def export(folder: Path, architecture: str, work: Path) -> Path:
    """The graph, `work/model.onnx`, and beside it one file of weights; raise Invalid for what the tools do not know"""
    work.mkdir(parents=True, exist_ok=True)
    return _causal(folder, work) if architecture.endswith(_CAUSAL) else _encoder(folder, architecture, work)


def _causal(folder: Path, work: Path) -> Path:
    """A process of its own: the builder prints, and keeps what it read"""
    need("onnxruntime_genai")
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder), "-o", str(work)]
    command += ["-p", "fp32", "-e", "cpu", "-c", str(work / "cache")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603  # ours
    path = work / "model.onnx"
    if ran.returncode or not path.exists():
        last = next((line for line in reversed(ran.stderr.splitlines()) if line.strip()), "it said nothing")
        error = Invalid if "NotImplementedError" in last or "ValueError" in last else Unavailable
        raise error(f"onnxruntime-genai could not export {folder.name}: {last.strip()[:_LAST]}", code="export")
    _settle(path, work / "genai_config.json")
    return path


def _settle(path: Path, config: Path) -> None:
    """The cache with its last dimension as a number: transformers.js takes one with a name for 0

    The builder notes a commit too: that of whichever repository Python's packages lie in.
    """
    onnx = need("onnx")
    size = json.loads(config.read_text())["model"]["decoder"]["head_size"]
    model = onnx.load(str(path), load_external_data=False)
    for one in (*model.graph.input, *model.graph.output):
        if one.name.startswith(CACHE):
            one.type.tensor_type.shape.dim[3].dim_value = size
    model.producer_version = model.producer_version.partition("+")[0]
    path.write_bytes(model.SerializeToString())


def _encoder(folder: Path, architecture: str, work: Path) -> Path:
    torch, transformers = need("torch"), need("transformers")
    need("onnxscript")
    kind = getattr(transformers, architecture, None)
    if kind is None:
        raise Invalid(f"transformers {transformers.__version__} knows no {architecture[:80]}", code="web")
    names = [name for name in _INPUTS if name in inspect.signature(kind.forward).parameters]
    if "input_ids" not in names:
        raise Invalid(f"{architecture} reads no text; only models of text are exported to ONNX", code="web")
    with _quiet():
        model = kind.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
        ).eval()
    if "token_type_ids" in names and getattr(model.config, "type_vocab_size", 0) < 1:
        names.remove("token_type_ids")
    path = work / "model.onnx"
    with _quiet():
        graph = _traced(torch, model, names).model_proto
    _name_nodes(graph)
    need("onnx").save_model(
        graph, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=SMALL
    )
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """No advice of torch either, which it gives on what is no concern of who exports: torchvision, its own warnings"""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(level)


def _traced(torch: Any, model: Any, names: list[str]) -> Any:
    class Whole(torch.nn.Module):  # type: ignore[misc]  # torch is had at run time
        """The model with inputs by position and one output"""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: Any) -> Any:
            found = self.model(**dict(zip(names, given, strict=True)))
            return found.logits if "logits" in found else found.last_hidden_state

    rows, columns = torch.export.Dim("batch_size"), torch.export.Dim("sequence_length")
    ids = torch.zeros((2, 8), dtype=torch.int64)
    with torch.no_grad():
        output = "logits" if "logits" in model(**_example(torch, ids, names)) else "last_hidden_state"
        return torch.onnx.export(
            Whole().eval(),
            tuple(_example(torch, ids, names).values()),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=[output],
            dynamic_shapes=(tuple({0: rows, 1: columns} for _ in names),),
        )


def _example(torch: Any, ids: Any, names: list[str]) -> dict[str, Any]:
    return {name: torch.ones_like(ids) if name == "attention_mask" else torch.zeros_like(ids) for name in names}


def _name_nodes(model: Any) -> None:
    """Matrices by where they stand in the model, as the exporter noted it: levels are chosen by that"""
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "")
        inner = re.findall(r"'([^']*\.[^']*)'", scopes)
        if inner and node.op_type in {"MatMul", "Gather", "Gemm"}:
            name = f"/{inner[-1].removeprefix('model.').replace('.', '/')}/{node.op_type}"
            node.name = f"{name}_{seen[name]}" if seen[name] else name
            seen[name] += 1
