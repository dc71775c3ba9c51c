"""ONNX: graphs that onnxruntime runs on the CPU, named as transformers.js and onnxruntime-genai name their parts"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.models.config import Config
from artifactstore.derive.evaluate.models.quiet import opening
from artifactstore.derive.evaluate.models.tokens import FolderTokens, open_tokens
from artifactstore.derive.evaluate.models.torch_model import pooled
from artifactstore.derive.extras import need

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_TEXTS = 32


class Graph:
    """A session, and the arrays it is run with"""

    def __init__(self, session: Any, config: Config) -> None:
        self._session = session
        self.inputs = {one.name: one for one in session.get_inputs()}
        self.outputs = [one.name for one in session.get_outputs()]
        self._config = config
        self.past = [name for name in self.inputs if name.startswith("past_key_values")]
        known = {"input_ids", "attention_mask", "position_ids", "token_type_ids", "num_logits_to_keep", *self.past}
        strange = sorted(set(self.inputs) - known)
        if strange or "input_ids" not in self.inputs:
            raise Invalid(f"The graph's inputs are not a language model's: {', '.join(self.inputs):.200}", code="graph")

    def run(self, ids: torch.Tensor, mask: torch.Tensor, past: Mapping[str, Any], wanted: Sequence[str]) -> list[Any]:
        """Outputs by name, for ids [rows, length] that follow on the past; mask: of past and ids"""
        length = ids.shape[1]
        arrays: dict[str, Any] = {
            "input_ids": ids.numpy(),
            "attention_mask": mask.numpy(),
            "position_ids": np.broadcast_to(np.arange(mask.shape[1] - length, mask.shape[1]), ids.shape),
            "token_type_ids": np.zeros(ids.shape),
            "num_logits_to_keep": np.array(0),
            **past,
        }
        given = {name: np.ascontiguousarray(arrays[name], self.dtype(name)) for name in self.inputs}
        found: list[Any] = self._session.run(list(wanted), given)
        return found

    def dtype(self, name: str) -> Any:
        """Of an input; raise Invalid for one that numpy has no name for"""
        kind = self.inputs[name].type
        if kind not in _DTYPES:
            raise Invalid(f"Input {name!r:.60} of the graph is {kind}, which cannot be given here", code="graph")
        return _DTYPES[kind]

    def empty(self, rows: int) -> dict[str, Any]:
        """A past of no tokens"""
        text = self._config.text
        heads = text.get("num_key_value_heads") or text.get("num_attention_heads")
        width = text.get("head_dim") or (text.get("hidden_size", 0) // (text.get("num_attention_heads") or 1))
        found = {}
        for name in self.past:
            said = self.inputs[name].shape
            shape: list[Any] = [
                rows,
                said[1] if isinstance(said[1], int) else heads,
                0,
                said[3] if isinstance(said[3], int) else width,
            ]
            found[name] = np.zeros(shape, self.dtype(name))
        return found

    def present(self) -> list[str]:
        """The output that goes into each of the past's inputs in the next run"""
        return [name.replace("past_key_values", "present") for name in self.past]


class OnnxLanguageModel:
    """A causal model as a graph"""

    params: int | None = None
    cuts = False

    def __init__(self, graph: Graph, tokens: FolderTokens, config: Config) -> None:
        self._graph, self.tokens, self._config = graph, tokens, config
        self.context = config.context(tokens.longest)
        row = torch.zeros(1, 1, dtype=torch.long)
        self.vocabulary = int(self.logits(row, 1).shape[-1])

    def logits(self, ids: torch.Tensor, keep: int) -> torch.Tensor:
        """All of a row's are made; `keep` of them are given"""
        (found,) = self._graph.run(ids, torch.ones_like(ids), self._graph.empty(len(ids)), ["logits"])
        return torch.from_numpy(found)[:, -keep:]

    def advance(self, ids: Sequence[int], past: Any = None) -> tuple[torch.Tensor, Any]:
        """By the graph's own past, where it has one; else all is read again"""
        if not self._graph.past:
            row = [*(past or ()), *ids]
            return self.logits(torch.tensor([row]), 1)[0, -1].float(), row
        seen, arrays = past or (0, self._graph.empty(1))
        mask = torch.ones(1, seen + len(ids), dtype=torch.long)
        logits, *present = self._graph.run(torch.tensor([list(ids)]), mask, arrays, ["logits", *self._graph.present()])
        arrays = dict(zip(self._graph.past, present, strict=True))
        return torch.from_numpy(logits)[0, -1].float(), (seen + len(ids), arrays)

    def ends(self) -> frozenset[int]:
        """As the configuration and the tokenizer say"""
        said = self._config.document.get("eos_token_id")
        ids = said if isinstance(said, list) else [said]
        return frozenset(one for one in (*ids, self.tokens.tokenizer.eos_token_id) if isinstance(one, int))


class OnnxEncoder:
    """A model without a head as a graph"""

    params: int | None = None

    def __init__(self, graph: Graph, tokens: FolderTokens, config: Config) -> None:
        self._graph, self.tokens = graph, tokens
        self.context = config.context(tokens.longest)
        self.vocabulary = int(config.text.get("vocab_size") or tokens.size)
        names = [name for name in ("last_hidden_state", "token_embeddings") if name in graph.outputs]
        if not names:
            raise Invalid(f"The graph gives no hidden states, only {', '.join(graph.outputs):.200}", code="graph")
        self._output = names[0]
        self.width = int(self.embed(["a"]).shape[1])

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """The mean over the last hidden states"""
        parts = []
        for at in range(0, len(texts), _TEXTS):
            batch = self.tokens.batch(texts[at : at + _TEXTS], self.context)
            (states,) = self._graph.run(batch["input_ids"], batch["attention_mask"], {}, [self._output])
            parts.append(pooled(torch.from_numpy(states).float(), batch["attention_mask"]))
        return torch.cat(parts)


def open_onnx(folder: Path, path: str, config: Config) -> OnnxLanguageModel | OnnxEncoder:
    """A graph with its external data beside it; raise Invalid for one that onnxruntime cannot run"""
    library = need("onnxruntime")
    options = library.SessionOptions()
    options.log_severity_level = 4
    tokens = open_tokens(folder)
    with opening("graph"):
        session = library.InferenceSession(str(folder / path), options, providers=["CPUExecutionProvider"])
        graph = Graph(session, config)
        return (OnnxLanguageModel if "logits" in graph.outputs and config.is_causal else OnnxEncoder)(
            graph, tokens, config
        )
