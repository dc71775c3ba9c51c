"""Which token may be sent to which hub"""

import pytest

from artifactstore.core.hub import ENDPOINT
from artifactstore.upstream.tokens import find_token

OTHER = "https://hub.example"


def test_a_token_of_the_public_hub_goes_nowhere_else(tmp_path):
    (tmp_path / "token").write_text("hf_saved\n")
    env = {"HF_TOKEN": " hf_given ", "HF_HOME": str(tmp_path)}
    assert find_token(ENDPOINT, env) == find_token(f"{ENDPOINT}/", env) == "hf_given"
    assert find_token(OTHER, env) is None
    assert find_token(f"{ENDPOINT}.example", env) is None
    assert find_token(OTHER, env | {"ARTSTORE_HUB_TOKEN": "hf_other"}) == "hf_other"
    assert find_token(ENDPOINT, {"ARTSTORE_HUB_TOKEN": "hf_other", "HF_HOME": "/none"}) is None


@pytest.mark.parametrize(
    ("path", "env"),
    [("token", {"HF_HOME": "."}), ("huggingface/token", {"XDG_CACHE_HOME": "."}), ("x", {"HF_TOKEN_PATH": "x"})],
)
def test_the_saved_token_is_found_where_it_was_saved(tmp_path, monkeypatch, path, env):
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("hf_saved\n")
    assert find_token(ENDPOINT, env) == "hf_saved"


def test_what_is_no_token_is_none(tmp_path):
    (tmp_path / "token").write_bytes(b"\xff")
    assert find_token(ENDPOINT, {"HF_HOME": str(tmp_path)}) is None
    (tmp_path / "token").write_bytes(b"\n")
    assert find_token(ENDPOINT, {"HF_HOME": str(tmp_path)}) is None
    assert find_token(ENDPOINT, {"HF_HOME": "~no-such-user-here"}) is None
