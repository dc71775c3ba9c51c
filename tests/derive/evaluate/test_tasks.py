"""Files of items: what is read of them, and what is wrong with them"""

import json

import pytest

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.derive.evaluate.tasks.questions import Question, grade
from artifactstore.derive.evaluate.tasks.table import load, shipped

SCENE = {
    "ind": 4,
    "activity_label": "Removing ice from car",
    "ctx_a": "Then, the man [title] writes over  the snow.",
    "ctx_b": "then",
    "endings": [" , he [substeps] goes.", "they stop.", "x", "y"],
    "label": "2",
}
SCIENCE = {
    "id": "x",
    "question": "Why?",
    "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]},
    "answerKey": "3",
}
PUBLISHED = {
    "id": "x",
    "question": {"stem": "Why?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]},
    "answerKey": "B",
}


def write(path, *rows):
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
    return path


def test_a_scene_is_cleaned(tmp_path):
    (question,) = load("hellaswag", write(tmp_path / "h.jsonl", SCENE)).questions
    assert question == Question(
        "Removing ice from car: Then, the man. writes over the snow. Then", (", he goes.", "they stop.", "x", "y"), 2
    )
    assert question.pairs()[1] == (question.context, " they stop.")


def test_both_forms_of_science_questions(tmp_path):
    one, other = load("arc", write(tmp_path / "a.jsonl", SCIENCE, PUBLISHED)).questions
    assert one == Question("Question: Why?\nAnswer:", ("a", "b", "c"), 2)
    assert other == Question("Question: Why?\nAnswer:", ("a", "b"), 1)


def test_items_of_ones_own(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"prompt": "1+1=", "choices": ["2", "3"], "answer": "3"}, "")
    task = load(str(path))
    assert (task.name, task.questions) == ("mine", (Question("1+1=", ("2", "3"), 1),))
    texts = load(str(write(tmp_path / "texts.jsonl", {"text": "a b"}, {"text": "c"})))
    assert [(one.text, one.words) for one in texts.passages] == [("a b", 2), ("c", 1)]
    assert len(load(str(tmp_path / "texts.jsonl"), limit=1).passages) == 1


def test_a_choice_is_weighed_by_its_characters():
    question = Question("?", ("a", "bb", "cccc"), 2)
    assert grade(question, [-1.0, -2.0, -3.0]) == (0.0, 1.0)
    assert grade(question, [-3.0, -3.0, -3.0]) == (0.0, 1.0)
    assert grade(Question("?", ("a", "b"), 0), [-1.0, -1.0]) == (1.0, 1.0)


def test_data_is_found_in_a_folder(tmp_path):
    with pytest.raises(NotFound, match=r"no file of arc, such as arc\.jsonl"):
        load("arc", tmp_path)
    write(tmp_path / "ARC-Challenge-Test.jsonl", PUBLISHED)
    assert load("arc", tmp_path).questions
    write(tmp_path / "ARC-Easy-Test.jsonl", PUBLISHED)
    with pytest.raises(Invalid, match="several files for arc: ARC-Challenge"):
        load("arc", tmp_path)
    write(tmp_path / "hellaswag_train.jsonl", SCENE)
    write(tmp_path / "hellaswag_val.jsonl", SCENE, SCENE)
    assert len(load("hellaswag", tmp_path).questions) == 2


def test_texts_are_shipped_but_no_data_set():
    assert load("perplexity").passages == load("kl").passages == shipped()
    with pytest.raises(NotFound, match="hellaswag is not shipped"):
        load("hellaswag")


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("hellaswag", "{", "line 2: no JSON"),
        ("hellaswag", "[]", "line 2: not an object"),
        ("hellaswag", {**SCENE, "label": 4}, "line 2: The answer is choice 4 of 4"),
        ("hellaswag", {**SCENE, "label": ""}, "line 2: 'label' is ''; a number is wanted"),
        ("hellaswag", {**SCENE, "endings": "x"}, "line 2: 'endings' is 'x'"),
        ("hellaswag", {**SCENE, "endings": ["", "x", "y", "z"]}, "none of them empty"),
        ("hellaswag", {"ctx": "x"}, "line 2: 'activity_label' is not among ctx"),
        ("arc", {**SCIENCE, "answerKey": "4"}, "line 2: 'answerKey' is '4', the labels are 1, 2, 3"),
        ("arc", {**PUBLISHED, "question": {"stem": "x"}}, "line 2: 'question' has no list 'choices'"),
        ("arc", {**SCIENCE, "choices": ["a"]}, "line 2: 'choices' is"),
        ("own", {"prompt": "x"}, "line 2: write"),
        ("own", {"prompt": "x", "choices": ["a", "b"], "answer": True}, "line 2: 'answer' is True"),
        ("own", {"prompt": "x", "choices": ["a", "b"], "answer": "c"}, "line 2: 'answer' is 'c'"),
        ("own", {"prompt": "x", "choices": ["a"], "answer": 0}, "two choices"),
        ("own", {"text": "  "}, "line 2: 'text' is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, task, row, says):
    fine = {"hellaswag": SCENE, "arc": SCIENCE, "own": {"prompt": "x", "choices": ["a", "b"], "answer": 0}}
    path = write(tmp_path / "items.jsonl", fine[task], row)
    with pytest.raises(Invalid) as caught:
        load(str(path)) if task == "own" else load(task, path)
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFound, match="No such file"):
        load(str(tmp_path / "none.jsonl"))
    with pytest.raises(NotFound, match="No such file"):
        load("perplexity", tmp_path / "none.txt")
    with pytest.raises(Invalid, match="has no items"):
        load(str(write(tmp_path / "empty.jsonl", "")))
    with pytest.raises(Invalid, match="both questions and texts"):
        load(str(write(tmp_path / "mix.jsonl", {"text": "x"}, {"prompt": "", "choices": ["a", "b"], "answer": 0})))
    with pytest.raises(Invalid, match="no texts"):
        load("kl", write(tmp_path / "q.jsonl", {"prompt": "", "choices": ["a", "b"], "answer": 0}))
    with pytest.raises(Invalid, match="holds no text"):
        load("kl", write(tmp_path / "e.txt", ""))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(Invalid, match=r"not UTF-8: .* at byte 3"):
        load("perplexity", tmp_path / "latin.txt")
    with pytest.raises(Invalid, match="is no text; give a file"):
        load("perplexity", tmp_path)
    with pytest.raises(Invalid, match=r"Unknown task 'mmlu'; use one of perplexity, kl, hellaswag, arc"):
        load("mmlu")
