"""What config.json tells transformers.js"""

import json

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.web.config import with_chunks

RAW = b'{\n    "model_type": "bert",\n    "x": 1e-12\n}\n'


def told(raw):
    return json.loads(raw).get("transformers.js_config")


def test_files_of_weights_are_counted_and_all_else_stays():
    found = with_chunks(RAW, {"model_q4.onnx": 3}, "q4")
    assert told(found) == {"dtype": "q4", "use_external_data_format": {"model_q4.onnx": 3}}
    assert found.startswith(RAW.rstrip(b"\n}"))
    again = with_chunks(found, {"model.onnx": 1, "model_q4.onnx": 0})
    assert told(again) == {"dtype": "q4", "use_external_data_format": {"model.onnx": 1}}


def test_nothing_to_say_changes_nothing():
    assert with_chunks(RAW, {"model.onnx": 0}) == RAW


def test_too_many_files_are_refused():
    assert told(with_chunks(RAW, {"model.onnx": 100}))["use_external_data_format"] == {"model.onnx": 100}
    with pytest.raises(Invalid, match=r"101 files of weights for one graph; transformers.js takes 100"):
        with_chunks(RAW, {"model.onnx": 101})


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff", b'"text"'])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(Invalid, match=r"config.json is no JSON object"):
        with_chunks(raw, {"model.onnx": 1})
