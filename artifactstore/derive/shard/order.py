"""Order: tensors of a model as it uses them, by what their names tell"""

import re

_NUMBER = re.compile(r"([0-9]{1,18})")
# where a numbered layer is: model.layers.7.…, encoder.layer.7.…, h.7.…, blk.7.…
_LAYER = re.compile(r"(?:^|\.)[0-9]+\.")
_EMBEDDING = re.compile(r"embed|token_embd|(?:^|\.)(?:wte|wpe|word_embeddings)\b|^rope")
_HEAD = re.compile(r"lm_head|^output\.|(?:^|[._])(?:head|classifier|pooler|score|cls|qa_outputs|predictions)\b")
# the stages of models that have two or three towers
_STAGES = ("encoder", "down_blocks", "mid_block", "decoder", "up_blocks")
_WITHIN = tuple(
    re.compile(pattern)
    for pattern in (
        r"input_layernorm|ln_1\b|attn_norm",
        r"post_attention|ln_2\b|ffn_norm|mlp|intermediate|ffn|feed_forward|(?<!attention\.)output\b",
    )
)


def first_use(name: str) -> tuple[object, ...]:
    """A key to sort names by: embeddings, layer after layer, what follows them, heads"""
    layer = _LAYER.search(name)
    if layer:
        rank = 1
    elif _HEAD.search(name):
        rank = 3
    else:
        rank = 0 if _EMBEDDING.search(name) else 2
    number = int(_NUMBER.search(name, layer.start())[0]) if layer else 0  # type: ignore[index]  # a layer has one
    return rank, _stage(name), number, _within(name) if layer else 0, _natural(name)


def _stage(name: str) -> int:
    found = [(name.find(stage), place) for place, stage in enumerate(_STAGES) if stage in name]
    return min(found)[1] if found else 0


def _within(name: str) -> int:
    """Norm, attention, then the rest of a layer"""
    if _WITHIN[0].search(name):
        return 0
    return 2 if _WITHIN[1].search(name) else 1


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers by their value"""
    return tuple((1, int(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(_NUMBER.split(name)))
