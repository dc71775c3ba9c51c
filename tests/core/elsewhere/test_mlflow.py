"""MLflow's file store: models of runs, logged models, and those in the registry"""

import hashlib

import pytest

from artifactstore.core.elsewhere import mlflow
from tests.core.elsewhere.trees import passed, told, tree

RUN, OTHER = "a" * 32, "b" * 32
MODEL, BASE = f"m-{'1' * 32}", f"m-{'2' * 32}"


def meta(**facts):
    return "".join(f"{key}: {value}\n" for key, value in facts.items())


def experiment(name="translate", number="7"):
    return {f"{number}/meta.yaml": meta(experiment_id=f"'{number}'", name=name, lifecycle_stage="active")}


def run(run_id=RUN, number="7", path="model", **facts):
    facts = {
        "run_id": run_id,
        "run_name": "calm-owl",
        "start_time": 1_700_000_000_000,
        "lifecycle_stage": "active",
    } | facts
    folder = f"{number}/{run_id}"
    files = {f"{folder}/meta.yaml": meta(**facts), f"{folder}/artifacts/{path}/MLmodel": "flavors: {}"}
    return files | {f"{folder}/artifacts/{path}/data/model.pth": "w", f"{folder}/artifacts/plot.png": "p"}


def logged(model_id=MODEL, number="7", **facts):
    facts = {
        "model_id": model_id,
        "name": "nllb",
        "creation_timestamp": 1_700_000_000_500,
        "source_run_id": RUN,
    } | facts
    folder = f"{number}/models/{model_id}"
    return {
        f"{folder}/meta.yaml": meta(**facts),
        f"{folder}/artifacts/MLmodel": f"model_id: {model_id}",
        f"{folder}/artifacts/w.bin": "w",
    }


def registered(name="prod-model", aliases=None, **versions):
    files = {f"models/{name}/meta.yaml": meta(name=name)}
    files |= {f"models/{name}/aliases/{alias}": version for alias, version in (aliases or {}).items()}
    for number, facts in versions.items():
        place = f"models/{name}/version-{number[1:]}"
        files[f"{place}/meta.yaml"] = meta(
            version=number[1:], **({"source": facts} if isinstance(facts, str) else facts)
        )
    return files


def test_a_model_of_a_run_is_a_version_of_its_experiment():
    more = {
        f"7/{RUN}/metrics/loss": "1 0.5 0\n3 0.25 2\n2 0.125 1\n",
        f"7/{RUN}/metrics/val/acc": "1 0.75\n",
        f"7/{RUN}/metrics/odd": "x\n1 nan 5\n",
        f"7/{RUN}/metrics/inf": "1 inf 5\n",
        f"7/{RUN}/params/lr": "0.001\n",
        f"7/{RUN}/params/raw": b"\xff",
    }
    (found,) = mlflow.read(tree({**experiment(), **run(), **more})).found
    assert found.artifact == "translate/model"
    assert sorted(found.files) == ["MLmodel", "data/model.pth"]
    assert (found.request_id, found.created) == (RUN, 1_700_000_000_000_000)
    assert found.metrics == {"loss": 0.25, "val/acc": 0.75}
    assert found.metadata == {"source": "mlflow", "run": RUN, "params": {"lr": "0.001", "raw": ""}}


def test_a_model_among_the_artifacts_themselves():
    files = {path.replace("/artifacts/model/", "/artifacts/"): data for path, data in run().items()}
    (found,) = mlflow.read(tree({**experiment(), **files})).found
    assert (found.artifact, sorted(found.files)) == ("translate/model", ["MLmodel", "data/model.pth", "plot.png"])


def test_a_logged_model_has_its_own_name_and_metrics():
    more = {
        f"7/{RUN}/metrics/loss": "1 0.5 0\n",
        f"7/models/{MODEL}/metrics/loss": "1 0.25 0 data abc run\n",
        f"7/models/{MODEL}/params/rank": "8",
        f"7/models/{BASE}/meta.yaml": meta(model_id=BASE),
    }
    survey = mlflow.read(tree({**experiment(), **run(path="other"), **logged(), **more}))
    found = {one.artifact: one for one in survey.found}
    assert sorted(found) == ["translate/nllb", "translate/other"]
    one = found["translate/nllb"]
    assert (one.request_id, one.metrics, one.created) == (RUN, {"loss": 0.25}, 1_700_000_000_500_000)
    assert one.metadata["model_id"] == MODEL
    assert one.metadata["params"] == {"rank": "8"}
    assert passed(survey) == {f"7/models/{BASE}": ("holds no MLmodel", False)}


@pytest.mark.parametrize(
    "source",
    [
        f"file:///old/place/mlruns/7/{RUN}/artifacts/model",
        f"/elsewhere/7/{RUN}/artifacts/model/",
        f"runs:/{RUN}/model",
    ],
)
def test_a_registered_version_is_taken_once_under_its_name(source):
    files = registered(
        aliases={"champion": "2", "9": "2", "late": b"\xff"}, v2={"source": source, "current_stage": "Production"}
    )
    survey = mlflow.read(tree({**experiment(), **run(), **files}))
    assert told(survey) == [("prod-model", ["MLmodel", "data/model.pth"], ["champion"])]
    assert survey.found[0].metadata["version"] == 2
    assert survey.found[0].metadata["stage"] == "Production"
    assert survey.passed == ()


@pytest.mark.parametrize("source", [f"models:/{MODEL}", f"mlflow-artifacts:/7/models/{MODEL}/artifacts"])
def test_a_registered_logged_model(source):
    files = registered(
        v1=source, v10={"source": "models:/x", "storage_location": source}, v3={"current_stage": "Deleted_Internal"}
    )
    found = mlflow.read(tree({**experiment(), **logged(), **files})).found
    assert [(one.artifact, one.metadata["version"]) for one in found] == [("prod-model", 1), ("prod-model", 10)]


def test_a_source_that_is_elsewhere_is_told():
    for source in ("s3://bucket/x", f"runs:/{OTHER}/model", f"models:/{BASE}"):
        survey = mlflow.read(tree({**experiment(), **run(), **registered(v1=source)}))
        assert [one.artifact for one in survey.found] == ["translate/model"]
        ((why, broken),) = passed(survey).values()
        assert why.startswith("its source is not in this folder")
        assert broken


def test_parents_are_the_models_a_run_began_from():
    base = logged(BASE, name="base", source_run_id="''")
    inputs = {
        f"7/{RUN}/inputs/x/meta.yaml": meta(source_type="MODEL", source_id=BASE),
        f"7/{RUN}/inputs/y/meta.yaml": meta(source_type="DATASET", source_id="d"),
        f"7/{RUN}/inputs/z/meta.yaml": "!!python/x",
        f"7/{RUN}/inputs/w/meta.yaml": meta(source_type="MODEL_INPUT", source_id=f"m-{'3' * 32}"),
        f"7/{RUN}/inputs/v/meta.yaml": meta(source_type="MODEL", source_id=MODEL),
    }
    found = {
        one.artifact: one
        for one in mlflow.read(tree({**experiment(), **run(path="p"), **logged(), **base, **inputs})).found
    }
    known, unknown = sorted(found["translate/nllb"].parents, key=lambda link: link.ref, reverse=True)[::-1]
    assert (known.ref, str(known.relation)) == (f"mlflow:{BASE}", "finetune")
    assert known.params["sha256"] == hashlib.sha256(f"model_id: {BASE}".encode()).hexdigest()
    assert "sha256" not in unknown.params
    assert found["translate/base"].parents == ()


@pytest.mark.parametrize(
    ("text", "refs"),
    [
        ("flavors:\n  transformers:\n    source_model_name: facebook/nllb-200\n", ["hf://facebook/nllb-200"]),
        ("flavors:\n  transformers: 3\n", []),
        ("flavors: 3\n", []),
        ("- 1\n", []),
        ("a: *b\n", []),
    ],
)
def test_a_transformers_flavor_names_the_model_it_was_made_from(text, refs):
    files = {**experiment(), **run(), f"7/{RUN}/artifacts/model/MLmodel": text}
    (found,) = mlflow.read(tree(files)).found
    assert [link.ref for link in found.parents] == refs


def test_what_was_deleted_or_cannot_be_understood():
    files = {
        **experiment(),
        **run(lifecycle_stage="deleted"),
        **run(OTHER),
        **{f".trash/{path}": data for path, data in run().items()},
        "8/meta.yaml": "a: [",
        "9/meta.yaml": "- 1",
        "7/tags/note": "x",
        "no-meta/x": "x",
    }
    survey = mlflow.read(tree(files))
    assert [one.request_id for one in survey.found] == [OTHER]
    assert {place: broken for place, (_, broken) in passed(survey).items()} == {"8": True, "9": True}


def test_a_time_that_is_none_and_a_name_that_needs_mending():
    files = {**experiment("My Experiment (1)"), **run(start_time="soon")}
    (found,) = mlflow.read(tree(files)).found
    assert found.artifact == "My-Experiment-1/model"
    assert found.created < 10_000


def test_a_model_that_cannot_be_stored_is_told():
    files = {**experiment(), **run(), f"7/{RUN}/artifacts/model/con": "x"}
    survey = mlflow.read(tree(files))
    assert survey.found == ()
    assert "Windows device" in passed(survey)[f"7/{RUN}/artifacts/model"][0]
