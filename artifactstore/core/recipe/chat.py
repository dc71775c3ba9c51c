"""Chat: which template the tokenizer of a product has"""

from collections import Counter
from collections.abc import Sequence

from artifactstore.core.recipe.document import Value

_AUTO = "auto"
_BUILTIN = {
    # https://github.com/openai/openai-python/blob/v0.28.1/chatml.md
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
}
_ELSEWHERE = frozenset(("alpaca", "exaone", "llama3", "mistral"))
_SHORTEST = 20


def check_template(value: Value) -> str:
    """`auto`, `chatml` or a template's own text; raise Invalid"""
    text = value.text("chat_template")
    if text in _ELSEWHERE:
        raise value.refuse(f"the chat_template {text} is not held here; write its text, or auto")
    if text not in (_AUTO, *_BUILTIN) and (len(text) < _SHORTEST or "{" not in text):
        raise value.refuse(f"chat_template should be auto, chatml or the text of a template, found {text[:60]!r}")
    return text


def choose_template(rule: str | None, templates: Sequence[str | None]) -> str | None:
    """The text to set by a recipe's rule, given the models' own in their order; None: what there is stays

    auto: what most of the models have, and of several the one that comes first.
    """
    if rule is None:
        return None
    if rule == _AUTO:
        counts = Counter(text.strip() for text in templates if text and text.strip())
        return counts.most_common(1)[0][0] if counts else None
    return _BUILTIN.get(rule, rule)
