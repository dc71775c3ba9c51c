"""Tokens: a tokenizer of transformers, read from a folder or from a GGUF file"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.models.quiet import opening, quiet
from artifactstore.derive.extras import need

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
# transformers writes 1e30 for what nobody said
_UNSET = 10**9


class FolderTokens:
    """A tokenizer as its files say; texts are read as lm-evaluation-harness reads them"""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        first = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.pad_token_id)
        self.prefix = next((one for one in first if one is not None), 0)
        self.size = len(tokenizer)
        self._before = tokenizer.decode([self.prefix]) if first[0] is not None or first[1] is not None else None

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text; one that begins with the prefix in writing gets none put before it"""
        doubled = bool(self._before) and text.startswith(str(self._before))
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special and not doubled, verbose=False)
        return ids

    def batch(self, texts: Sequence[str], context: int) -> Any:
        """Rows of ids of equal length with their mask, each text cut to `context` tokens"""
        return self.tokenizer(list(texts), padding=True, truncation=True, max_length=context, return_tensors="pt")

    def chat(self, text: str) -> list[int]:
        """Ids of what a person said, as the model's template has it; raise Invalid without a template"""
        if not self.tokenizer.chat_template:
            raise Invalid("It has no chat template; leave --chat away", code="template")
        said = [{"role": "user", "content": text}]
        with opening("chat template"):
            ids: list[int] = self.tokenizer.apply_chat_template(
                said, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        return ids

    @property
    def longest(self) -> int | None:
        """Tokens that its model takes, where it says so"""
        said = self.tokenizer.model_max_length
        return int(said) if isinstance(said, int | float) and 0 < said < _UNSET else None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special ones"""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


def open_tokens(folder: Path, gguf: str | None = None) -> FolderTokens:
    """From a folder's own files, else from a GGUF file in it; raise Invalid when there is none"""
    own = any((folder / name).is_file() for name in _FILES)
    if not own and gguf is None:
        raise Invalid(f"It has no tokenizer: none of {', '.join(_FILES)}", code="tokenizer")
    options = {} if own else {"gguf_file": gguf}
    with quiet(), opening("tokenizer"):
        tokenizer = need("transformers").AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    return FolderTokens(tokenizer)
