"""Files of the store as sources of another version: cut as the file itself would be"""

from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.ops import ingest
from artifactstore.ops.ingest import IngestPlan, Labels
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.held import HeldFile
from tests.ops.trees import contents


def held(store, version):
    manifest = load_manifest(store.depot, version.id)
    return [
        HeldFile.of(store.depot, version, manifest, entry, SafePath(f"again/{entry.path}")) for entry in manifest.files
    ]


def test_a_version_made_of_another_s_files_has_its_bytes_and_blobs(store, model, tmp_path):
    first = store.add([model], name="first").committed.version
    sources = held(store, first)
    report = ingest.run(store.depot, IngestPlan(ArtifactName("second"), tuple(sources), Labels(created=1)))
    store.checkout("second", tmp_path / "out")
    assert contents(tmp_path / "out/again") == contents(model)
    # the blob in which small files lie together goes by their names
    assert report.new_bytes < 1 << 20
    assert report.read_bytes == first.nbytes
    assert {file.info.format for file in sources} == {"other", "safetensors"}


def test_its_parts_are_read_in_any_order(store, model):
    version = store.add([model], name="m").committed.version
    [source] = [file for file in held(store, version) if file.path == "again/data.bin"]
    data = (model / "data.bin").read_bytes()
    reading = source.open()
    assert reading.size == source.size == len(data)
    assert reading.read(7_000_000, 1000) == data[7_000_000:7_001_000]
    buffer = bytearray(50)
    reading.fill(5, memoryview(buffer))
    assert buffer == data[5:55]
    reading.close()
    reading.abandon()
