"""Which tensor goes into which file"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.names import SafePath
from artifactstore.derive.shard.filling import Box, Weight, fill
from artifactstore.derive.shard.layout import Range


def weights(sizes):
    path = SafePath("w")
    return [Weight(TensorInfo(f"t{n}", "U8", (size,), 0, size), Range(path, 0, size)) for n, size in enumerate(sizes)]


def entry(info):
    return len(info.name)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(70, 300), st.sampled_from([1, 8, 32]))
def test_no_file_is_over_the_ceiling_and_none_could_be_spared(sizes, ceiling, align):
    first, rest = Box(10, entry, 8, align), Box(3, entry, 8, align)
    given_weights = weights(sizes)
    try:
        files = fill(given_weights, ceiling, first, rest)
    except Invalid as e:
        assert e.facts["least"] > ceiling
        return
    assert [weight for file in files for weight in file] == given_weights

    def size(number, of):
        box = first if number == 0 else rest
        head = box.head + sum(entry(one.info) for one in of)
        return -(-head // 8) * 8 + sum(-(-one.nbytes // align) * align for one in of)

    for number, file in enumerate(files):
        assert size(number, file) <= ceiling
        if number + 1 < len(files):
            assert size(number, [*file, files[number + 1][0]]) > ceiling


def test_a_tensor_over_the_ceiling_is_named_and_the_least_size_with_it():
    box = Box(10, entry)
    with pytest.raises(Invalid, match=r"Tensor 't1' alone takes 612 B as a file.*give --size 612 or more") as caught:
        fill(weights([5, 600, 7]), 100, box)
    assert caught.value.facts == {"tensor": "t1", "least": 612}
    assert len(fill(weights([5, 600, 7]), 612, box)) == 3


def test_a_head_over_the_ceiling_is_refused():
    with pytest.raises(Invalid, match="Not even the head of the first file, 500 bytes"):
        fill(weights([5]), 100, Box(500, entry), Box(1, entry))
