"""What a running verb tells, where nobody watches"""

import json

import pytest
from artstore.output import Form, Output
from artstore.progress import Reporter

from artifactstore.core.events import Progress, Step, Warn


def heard(form, capsys):
    with Reporter(Output(form)) as monitor:
        for done in range(0, 11, 5):
            monitor(Progress("add", done, 10))
        monitor(Progress("add", 0, 0))
        monitor(Step("save.commit.before"))
        monitor(Warn("The journal\nis late"))
    return capsys.readouterr()


@pytest.mark.parametrize("form", [Form.TEXT, Form.IDS])
def test_a_warning_is_one_line_on_stderr_and_bars_are_for_terminals(form, capsys):
    assert heard(form, capsys) == ("", "warning: The journal\\nis late\n")


def test_json_keeps_stdout_for_the_document(capsys):
    out, err = heard(Form.JSON, capsys)
    assert (out, json.loads(err)) == ("", {"warning": "The journal\nis late"})


def test_jsonl_has_the_first_and_the_last_of_quick_progress(capsys):
    out, err = heard(Form.JSONL, capsys)
    events = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [event.get("done") for event in events] == [0, 10, None]
    assert events[-1] == {"event": "warning", "message": "The journal\nis late"}
