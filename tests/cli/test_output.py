"""The answer of a command, in each form"""

import json

import pytest
from artstore.output import Form, Output, number, plural, took

from artifactstore.core.errors import Invalid

DOCUMENT = {"id": "ab", "metrics": {"loss": 0.5}}


def told(form, capsys):
    Output(form).tell(DOCUMENT, lambda screen: screen.line("for people"), ids=["ab"])
    return capsys.readouterr().out


def rows(form, capsys):
    Output(form).tell_rows("version", iter([{"n": 1}, {"n": 2}]), lambda screen: screen.line("people"), ids=["1", "2"])
    return capsys.readouterr().out


def test_a_document_in_each_form(capsys):
    assert told(Form.TEXT, capsys) == "for people\n"
    assert told(Form.IDS, capsys) == "ab\n"
    assert json.loads(told(Form.JSON, capsys)) == DOCUMENT
    assert json.loads(told(Form.JSONL, capsys)) == {"event": "result", **DOCUMENT}


def test_rows_in_each_form(capsys):
    assert rows(Form.TEXT, capsys) == "people\n"
    assert rows(Form.IDS, capsys) == "1\n2\n"
    assert json.loads(rows(Form.JSON, capsys)) == {"versions": [{"n": 1}, {"n": 2}]}
    events = [json.loads(line) for line in rows(Form.JSONL, capsys).splitlines()]
    assert events == [{"event": "version", "n": 1}, {"event": "version", "n": 2}]


def test_one_form_at_a_time():
    assert Form.chosen(as_json=False, as_jsonl=False, ids=False) is Form.TEXT
    assert Form.chosen(as_json=False, as_jsonl=True, ids=False) is Form.JSONL
    with pytest.raises(Invalid, match="only one"):
        Form.chosen(as_json=True, as_jsonl=False, ids=True)


def test_words_for_numbers():
    assert (took(1.234), took(75), number(0.0412), number(1e-7)) == ("1.2 s", "1min", "0.0412", "1e-07")
    assert (plural(1, "file"), plural(2400, "file")) == ("1 file", "2,400 files")
