"""artstore verify and repair"""

import json

from tests.cli.calling import call, document, done, refused


def damage(store):
    """Flip a bit of the only blob"""
    (blob,) = (path for path in (store / "blobs").rglob("*") if path.is_file())
    raw = bytearray(blob.read_bytes())
    raw[7] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(raw)
    return blob


def test_a_sound_store(store):
    found = document("verify")
    assert (found["blobs"], found["damaged"], found["complete"]) == (1, [], True)
    assert found["bytes"] > 10_240
    assert done("verify").startswith("1 blob  ")
    assert done("verify", "bert", "--sample", "50%", "--for", "1min").endswith("no damage\n")
    assert done("verify", "-q") == ""


def test_a_flipped_bit_is_exit_code_4_and_comes_back_from_a_copy(store, weights):
    digest = damage(store).name.partition(".")[0]
    result = call("verify", "--json")
    assert (result.exit_code, result.stderr) == (4, "")
    (found,) = json.loads(result.stdout)["damaged"]
    assert (found["digest"], found["kind"], found["versions"]) == (digest, "corrupt", ["bert:1"])
    refused(4, "checkout", "bert", "out")
    result = call("repair")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (6, digest)
    healed = document("repair", "--from", weights)
    assert (healed["healed"], healed["left"]) == ([digest], [])
    assert document("verify")["damaged"] == []
    done("checkout", "bert", "out")


def test_damage_is_drawn(store):
    digest = damage(store).name.partition(".")[0]
    result = call("verify")
    assert result.exit_code == 4
    assert result.stdout.splitlines()[0].split() == ["WHAT", "DIGEST", "KIND", "VERSIONS"]
    assert result.stdout.splitlines()[1].split() == ["blob", digest, "corrupt", "bert:1"]
    assert result.stdout.endswith("1 object damaged; run artstore repair\n")


def test_from_another_store(store, weights, place):
    done("init", place / "other")
    done("add", weights, "--as", "copy", "--store", place / "other")
    damage(store)
    assert call("verify", "-q").exit_code == 4
    assert done("repair", "--from", place / "other").startswith("1 object healed  10.2 kB")


def test_nothing_to_repair(store):
    assert done("repair").startswith("Nothing is known to be damaged")
    assert document("repair", "bert") == {"healed": [], "left": [], "bytes": 0}
