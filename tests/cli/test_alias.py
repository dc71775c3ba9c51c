"""artstore alias set, rm and log"""

from tests.cli.calling import document, done, refused


def test_set_move_log_remove(store, weights):
    done("add", weights, "--as", "bert")
    assert done("alias", "set", "bert", "prod", "bert:1") == "bert@prod → bert:1\n"
    moved = document("alias", "set", "bert", "prod", "bert:2")
    assert (moved["ref"], moved["generation"]) == ("bert:2", 2)
    assert document("show", "bert@prod")["number"] == 2
    assert done("alias", "rm", "bert", "prod") == "Removed bert@prod\n"
    refused(3, "show", "bert@prod")
    moves = document("alias", "log", "bert", "prod")["moves"]
    assert [move["ref"] for move in moves] == [None, "bert:2", "bert:1"]
    lines = done("alias", "log", "bert", "prod").splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["removed", "bert:2", "bert:1"]
    assert done("alias", "log", "bert", "prod", "-q").split() == [move["id"] for move in moves if move["id"]]


def test_an_alias_is_of_the_versions_artifact(store, weights):
    done("add", weights, "--as", "other")
    refused(2, "alias", "set", "other", "prod", "bert:1")


def test_what_is_not_there(store):
    refused(3, "alias", "set", "nobody", "prod", "bert")
    refused(3, "alias", "set", "bert", "prod", "bert:9")
    refused(3, "alias", "rm", "bert", "prod")
    refused(3, "alias", "log", "bert", "prod")


def test_without_a_command_it_says_where_help_is(store):
    assert refused(2, "alias") == "Missing command; see artstore alias --help"
    assert refused(2, "alias", "move").endswith("see artstore alias --help")
