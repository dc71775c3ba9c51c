"""Chat: a template is named, written out, or what most models have"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.chat import check_template, choose_template
from artifactstore.core.recipe.document import read

TEXT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def test_what_is_named_or_written_is_taken():
    assert [check_template(read(f'"{text}"', "r")) for text in ("auto", "chatml", TEXT)] == ["auto", "chatml", TEXT]
    assert choose_template(TEXT, [None]) == TEXT
    assert choose_template(None, [TEXT]) is None


def test_chatml_is_chatml():
    jinja2 = pytest.importorskip("jinja2")
    messages = [{"role": "user", "content": "Hello"}]
    said = jinja2.Template(choose_template("chatml", [])).render(messages=messages, add_generation_prompt=True)
    assert said == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_auto_is_what_most_have_and_the_first_of_several():
    assert choose_template("auto", ["a", None, "b", "b "]) == "b"
    assert choose_template("auto", ["b", "a"]) == "b"
    assert choose_template("auto", [None, " "]) is None


@pytest.mark.parametrize("text", ["alpaca", "llama3", "mistral", "exaone", "chatlm", "x" * 50, "{x}", "3"])
def test_what_is_no_template_is_refused(text):
    with pytest.raises(Invalid, match="chat_template"):
        check_template(read(text if text != "{x}" else "'{x}'", "r"))
