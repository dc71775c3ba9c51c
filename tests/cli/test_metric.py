"""artstore metric"""

from tests.cli.calling import document, done, refused


def test_metrics_are_set_and_replaced(store):
    assert done("metric", "bert", "loss=0.25", "accuracy=0.9").startswith("bert:1  ")
    assert document("metric", "bert", "loss=0.125")["metrics"] == {"loss": 0.125, "accuracy": 0.9}
    assert done("metric", "bert", "loss=1", "-q").strip() == document("show", "bert")["id"]


def test_one_that_is_wrong_sets_none(store):
    refused(2, "metric", "bert", "accuracy=1", "loss=low")
    refused(2, "metric", "bert")
    refused(3, "metric", "nobody", "loss=1")
    assert document("show", "bert")["metrics"] == {"loss": 0.5}
