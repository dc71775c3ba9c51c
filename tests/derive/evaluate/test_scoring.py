"""Rows of tokens, in batches, against a model that can be calculated by hand"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate import scoring
from artifactstore.derive.evaluate.scoring import Span, batches, diverge, likelihoods, pair, score, windows


class Letters:
    """A token for each letter"""

    prefix, size = 0, 30

    def encode(self, text, *, special=True):
        return [ord(one) % 30 for one in text]

    def decode(self, ids):
        return ""


class Counting:
    """After a row it finds each token likely by how often it was seen, whatever is padded behind"""

    vocabulary, context, params, cuts = 30, 16, 0, True
    tokens = Letters()

    def __init__(self, weight=1.0):
        self.weight = weight
        self.shapes = []

    def logits(self, ids, keep):
        self.shapes.append((len(ids), ids.shape[1], keep))
        seen = torch.nn.functional.one_hot(ids, self.vocabulary).cumsum(1).float()
        return (seen * self.weight)[:, -keep:]


def by_hand(row, count):
    found = []
    for at in range(len(row) - count, len(row)):
        seen = [row[:at].count(one) for one in range(30)]
        found.append(seen[row[at]] - math.log(sum(map(math.exp, seen))))
    return found


rows = st.lists(st.integers(0, 29), min_size=2, max_size=17).flatmap(
    lambda row: st.builds(Span, st.just(tuple(row)), st.integers(1, len(row) - 1))
)


@given(st.lists(rows, min_size=1, max_size=12))
def test_batches_change_no_score(spans):
    for span, (found, _) in zip(spans, score(Counting(), spans), strict=True):
        assert found.tolist() == pytest.approx(by_hand(list(span.row), span.count), abs=1e-4)


@given(st.lists(rows, max_size=40), st.integers(1, 10**8), st.booleans())
def test_every_span_is_in_one_batch_and_the_longest_come_first(spans, vocabulary, cuts):
    found = list(batches(spans, vocabulary, cuts=cuts))
    assert sorted(one for batch in found for one in batch) == list(range(len(spans)))
    lengths = [len(spans[one].row) for batch in found for one in batch]
    assert lengths == sorted(lengths, reverse=True)
    for batch in found:
        longest = len(spans[batch[0]].row)
        keep = max(longest - len(spans[one].row) + spans[one].count for one in batch) if cuts else longest
        assert len(batch) == 1 or len(batch) * keep * vocabulary * 4 <= scoring._LOGITS


def test_only_what_is_scored_is_asked_for():
    model = Counting()
    score(model, [Span(tuple(range(17)), 2), Span(tuple(range(15)), 1)])
    assert model.shapes == [(2, 16, 3)]


@given(st.lists(st.integers(1, 29), max_size=60), st.integers(1, 20))
def test_windows_predict_each_token_once(ids, window):
    found = list(windows(ids, 0, window))
    assert [one for span in found for one in span.row[-span.count :]] == ids
    assert all(len(span.row) <= window + 1 for span in found)
    # the last reaches back as far as it can
    if len(ids) >= window:
        assert len(found[-1].row) == window + 1


def test_spaces_at_the_end_of_a_context_are_the_continuations():
    tokens = Letters()
    assert pair(tokens, "ab ", "c", 16) == pair(tokens, "ab", " c", 16)
    assert pair(tokens, "", "abc", 16) == Span((0, 7, 8, 9), 3)
    assert pair(tokens, "abcdef", " g", 4) == Span((10, 11, 12, 2, 13), 2)


def test_what_holds_no_token_cannot_be_predicted():
    with pytest.raises(Invalid, match="nothing to predict"):
        pair(Letters(), "ab", "", 16)
    with pytest.raises(Invalid, match="takes 4"):
        pair(Letters(), "ab", " ghijk", 4)


def test_the_likeliest_continuation_is_greedy():
    one, other = likelihoods(Counting(), [("aaab", "aa"), ("aaab", "ab")])
    assert one.greedy
    assert not other.greedy
    assert one.logprob > other.logprob


def test_a_model_does_not_diverge_from_itself_and_padding_of_its_vocabulary_counts_for_nothing():
    class Wider(Counting):
        vocabulary = 40

        def logits(self, ids, keep):
            return torch.nn.functional.pad(super().logits(ids, keep)[..., :30], (0, 10))

    spans = [Span((1, 2, 3, 2), 3), Span((5, 5, 5), 2)]
    assert diverge(Counting(), Counting(), spans).kl.abs().max() == 0
    assert diverge(Wider(), Counting(), spans).kl.abs().max() == 0
    found = diverge(Counting(2.0), Counting(), spans)
    assert found.kl.min() > 0
    assert found.kl.shape == found.agree.shape == (5,)
    assert found.agree.all()
