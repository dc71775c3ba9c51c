"""Running graphs of ONNX and the models they come from on the same input"""

import numpy as np
import onnxruntime
import torch
import transformers

onnxruntime.set_default_logger_severity(3)
_TYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(float16)": np.float16}


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def run(path, ids, cache=None):
    """What a graph gives first, and the cache after it"""
    graph = session(path)
    past = cache["past_key_values.0.key"].shape[2] if cache else 0
    given = {"input_ids": ids, "attention_mask": np.ones((len(ids), past + ids.shape[1]), np.int64)}
    given["token_type_ids"] = np.zeros_like(ids)
    for one in graph.get_inputs():
        if one.name.startswith("past"):
            shape = (len(ids), one.shape[1], 0, one.shape[3])
            given[one.name] = cache[one.name] if cache else np.zeros(shape, _TYPES[one.type])
    names = [one.name for one in graph.get_outputs()]
    found = dict(zip(names, graph.run(names, {one.name: given[one.name] for one in graph.get_inputs()}), strict=True))
    after = {name.replace("present", "past_key_values"): value for name, value in found.items() if "present" in name}
    return found[names[0]].astype(np.float32), after


def expected(folder, ids):
    """What the model in a folder gives"""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(ids), attention_mask=torch.ones(ids.shape, dtype=torch.int64))
    return (found.logits if "logits" in found else found.last_hidden_state).numpy()


def generated(folder, path, text, count):
    """The tokens of a text and of what the graph goes on with, the likeliest each time, until it ends the text"""
    end = transformers.AutoConfig.from_pretrained(folder).eos_token_id
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    ids, cache = np.array([tokens], np.int64), None
    for _ in range(count):
        logits, cache = run(path, ids, cache)
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] == end:
            break
        ids = np.array([tokens[-1:]], np.int64)
    return tokens


def distance(found, right):
    """Relative, of all together"""
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))
