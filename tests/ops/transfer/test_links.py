"""Links and small texts, put in place whole or not at all"""

import pytest

from artifactstore.ops.transfer.links import links_work, place_link, place_text


def test_whether_links_can_be_made(tmp_path):
    assert links_work(tmp_path)
    assert not links_work(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_link_leads_there_wherever_the_folder_goes(tmp_path):
    (tmp_path / "a" / "in").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("old")
    for text in ("one", "two"):
        (tmp_path / "a" / text).write_text(text)
        place_link(tmp_path / "a" / "in" / "link", tmp_path / "a" / text)
    (tmp_path / "a").rename(tmp_path / "b")
    assert (tmp_path / "b" / "in" / "link").read_text() == "two"


def test_what_cannot_be_put_in_place_leaves_nothing(tmp_path):
    (tmp_path / "taken" / "full").mkdir(parents=True)
    with pytest.raises(OSError):
        place_text(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    place_text(tmp_path / "free", "text")
    assert (tmp_path / "free").read_text() == "text"
