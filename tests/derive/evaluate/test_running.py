"""A model at work: texts that come in pieces, and texts that end"""

import pytest
import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.writing import continued
from artifactstore.derive.run import likeness, written


class Bytes:
    """A token for each byte"""

    prefix, size = 0, 256

    def encode(self, text, *, special=True):
        return list(text.encode())

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")

    def chat(self, text):
        return list(f"<{text}>".encode())


class Reciting:
    """Says one text, whatever it is asked"""

    vocabulary, context, params, cuts = 256, 64, 0, True
    tokens = Bytes()

    def __init__(self, text):
        self.says = [*text.encode(), 4]

    def advance(self, ids, past=None):
        at = 0 if past is None else past
        return torch.nn.functional.one_hot(torch.tensor(self.says[at]), 256).float(), at + 1

    def ends(self):
        return frozenset({4})


def test_no_letter_comes_in_halves():
    pieces = list(written(Reciting("für €5"), "a"))
    assert "".join(pieces) == "für €5"
    assert pieces[:3] == ["f", "ü", "r"]


def test_a_text_ends_where_the_model_ends_it_or_at_the_count():
    assert list(continued(Reciting("abc"), [1], 9)) == list(b"abc")
    assert list(continued(Reciting("abc"), [1], 2)) == list(b"ab")
    assert list(continued(Reciting("abcdef"), [1] * 61, 9)) == list(b"abc")
    assert "".join(written(Reciting("abc"), "x", chat=True)) == "abc"
    assert "".join(written(Reciting("ü"), "x", count=1)) == "\N{REPLACEMENT CHARACTER}"


def test_a_start_must_leave_room():
    with pytest.raises(Invalid, match="64 tokens, and the model takes 64"):
        list(continued(Reciting("abc"), [1] * 64, 9))
    assert list(continued(Reciting("a"), [], 9)) == list(b"a")


def test_what_is_no_number_is_no_token():
    class Broken(Reciting):
        def advance(self, ids, past=None):
            return torch.full((256,), torch.nan), None

    with pytest.raises(Invalid, match="not numbers"):
        list(continued(Broken(""), [1], 3))


def test_one_text_is_like_nothing():
    with pytest.raises(Invalid, match="give --prompt twice"):
        likeness(None, ["a"])
