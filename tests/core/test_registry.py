"""The registry: what its TOML may say, what replaces what, and one line for everything else"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.hub import HubRef
from artifactstore.core.origin import Folder
from artifactstore.core.registry import Model, Registry

SHIPPED = Path(__file__).parents[2] / "models/artmodels/registry.toml"
CLIP = '[models.clip]\nsource = "hf://openai/clip"\n'


def read(*texts, env=None):
    return Registry.read([(f"{number}.toml", text) for number, text in enumerate(texts)], env)


def refused(*texts, env=None):
    with pytest.raises(Invalid) as refusal:
        read(*texts, env=env)
    message = refusal.value.message
    assert message.isprintable()
    assert len(message) < 400
    return message


@pytest.mark.parametrize("name", ["http://me:secret@host/x", "file:///etc/passwd", "ftp://host/x"])
def test_a_url_is_no_name_and_is_not_repeated(name):
    with pytest.raises(Invalid, match="by an entry of a registry") as caught:
        Registry.read([]).find([name])
    assert name[8:] not in caught.value.message


def test_an_entry_says_all_there_is_to_know():
    (model,) = read(
        CLIP + 'include = ["*.json", "unet/"]\nexclude = ["x.json"]\ndestination = "./models/clip/"\nlicense = "mit"\n'
        'size = "1.7GB"\nphase = "p"\nkind = "clip"\ngated = true\nenv = "CLIP_MODEL"\n'
    ).models.values()
    assert model == Model(
        "clip",
        HubRef("openai/clip"),
        ("*.json", "unet/"),
        ("x.json",),
        "models/clip",
        "MIT",
        1_700_000_000,
        "p",
        "clip",
        True,
        "CLIP_MODEL",
    )
    wanted = [path for path in ("a.json", "x.json", "unet/a/b.bin", "unet.bin") if model.wants(path)]
    assert wanted == ["a.json", "unet/a/b.bin"]


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("hf://openai/clip", "openai_clip"),
        ("hf://gpt2@main", "gpt2"),
        ("./x", "clip"),
        ("store+/x#org/m@prod", "org_m"),
    ],
)
def test_a_destination_left_out_is_the_source_s_name(source, destination):
    assert read(CLIP.replace("hf://openai/clip", source)).models["clip"].destination == destination


def test_a_single_file_of_a_repository_is_all_that_is_wanted():
    model = Model.of(HubRef.parse("hf://org/name@v1/sub/w.bin"))
    assert model.wants("sub/w.bin")
    assert not model.wants("w.bin")
    assert not model.declared
    assert (model.artifact, model.destination) == ("org/name", "org_name")


def test_a_later_text_replaces_whole_entries_and_adds_others():
    first = CLIP + 'license = "MIT"\n[models.other]\nsource = "./other"\n[services.s]\nmodels = ["clip"]\n'
    merged = read(first, '[models.clip]\nsource = "./mine"\n[services.t]\nmodels = ["clip", "other"]\n')
    assert merged.models["clip"].origin == Folder("./mine")
    assert merged.models["clip"].license is None
    assert list(merged.models) == ["clip", "other"]
    assert merged.service("t").models == ("clip", "other")
    assert merged.service("s").command == ()


def test_a_variable_puts_another_source_in_place_of_all_that_was_said_of_the_first():
    text = CLIP + 'env = "CLIP_MODEL"\nlicense = "MIT"\nsize = "1GB"\ninclude = ["*.bin"]\nkind = "clip"\n'
    assert read(text, env={"CLIP_MODEL": ""}).models["clip"].origin == HubRef("openai/clip")
    model = read(text, env={"CLIP_MODEL": "org/other@v2"}).models["clip"]
    assert (model.origin, model.license, model.size, model.include) == (HubRef("org/other", "v2"), None, None, ())
    assert (model.kind, model.destination) == ("clip", "org_other")
    assert read(text + 'destination = "d"\n', env={"CLIP_MODEL": "./x"}).models["clip"].destination == "d"


@pytest.mark.parametrize("value", ["hf://a/b/../c", "https://host/x", "x y z", "a/b/c"])
def test_a_variable_that_names_no_source_is_refused_by_its_name(value):
    if value == "a/b/c":  # a file of a repository
        assert read(CLIP + 'env = "V"\n', env={"V": value}).models["clip"].wants("c")
    else:
        assert refused(CLIP + 'env = "V"\n', env={"V": value}).startswith("V: ")


def test_names_are_found_once_each_or_close_ones_told():
    registry = read(CLIP + '[services.search]\nmodels = ["clip"]\n')
    assert [model.name for model in registry.find(["clip", "clip"])] == ["clip"]
    with pytest.raises(NotFound, match="No model is called 'clop'; did you mean clip"):
        registry.find(["clop"])
    with pytest.raises(NotFound, match="No model is called 'zzz'; there are clip"):
        registry.find(["zzz"])
    with pytest.raises(NotFound, match="did you mean search"):
        registry.service("serch")
    with pytest.raises(NotFound, match="the registry has none"):
        read("").find(["x"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models.a", "0.toml is not TOML: Expected ']'"),
        ('a = 1\nb = "', "0.toml is not TOML: Unterminated string"),
        ("x = 1\nx = 2\ny = 3", "line 2"),
        ("x = " + "[" * 5000, "0.toml is not TOML"),
        ("[modles.a]", "0.toml: unknown key 'modles'; did you mean models?"),
        ("zzz = 1", "0.toml: unknown key 'zzz'; it takes models, services"),
        ("models = 1", "0.toml: models must hold tables"),
        ("[models]\na = 1", "0.toml: models must hold tables"),
        (
            '[models.a]\nsource = "hf://a/b"\nlicence = "MIT"',
            "[models.a]: unknown key 'licence'; did you mean license?",
        ),
        ('[models.a]\nlicense = "MIT"', '[models.a]: no source; write source = "hf://org/name"'),
        ("[models.a]\nsource = 3", "[models.a]: source must be a text in quotes, found 3"),
        ('[models.a]\nsource = ""', "source must be a text in quotes"),
        (CLIP + "include = '*'", "include must be a list of texts"),
        (CLIP + "include = [1]", "include must be a list of texts"),
        (CLIP + "include = ['']", "include must be a list of texts"),
        (CLIP + "gated = 1", "gated must be true or false"),
        (CLIP + "size = '2 kilo'", "[models.clip]: size: Not a size"),
        (CLIP + "license = 'gemma'", "license: 'gemma' is no SPDX licence expression"),
        (CLIP + "env = 'A B'", "env: 'A B' is no name of a variable"),
        (CLIP + "kind = ' x'", "kind: Not a kind"),
        (CLIP + "destination = '/etc'", "destination: Path '/etc' is absolute"),
        (CLIP + "destination = 'a/../b'", "destination: Path 'a/../b' has an empty, '.' or '..' part"),
        (CLIP + "destination = 'con'", "Windows device name"),
        (CLIP + "sha256 = 'ab'", "source: A sha256 belongs to a file of the web"),
        ('[models."a b"]\nsource = "./x"', "Not an artifact name"),
        ('[models.a]\nsource = "hf://a/b/../c"', "[models.a]: source: "),
        (CLIP + "[services.s]", '[services.s]: no models; write models = ["name"]'),
        (
            CLIP + "[services.s]\nmodels = ['clop']",
            "needs the model 'clop', which no registry names; did you mean clip?",
        ),
        (CLIP + "[services.s]\nmodels = ['clip']\ncommand = 'x'", "command must be a list of texts"),
    ],
)
def test_what_cannot_be_understood_is_one_line_that_says_where(text, says):
    assert says in refused(text)


def two(first, second):
    return f"[models.a]\nsource = 'hf://o/a'\n{first}\n[models.b]\nsource = 'hf://o/b'\n{second}\n"


def test_two_models_never_share_a_folder():
    assert "Models a and b would both go to D" in refused(two("destination = 'd'", "destination = 'D'"))
    assert "inside the folder of a" in refused(two("destination = 'd'", "destination = 'D/e/f'"))
    assert "inside the folder of b" in refused(two("destination = 'd/e'", "destination = 'd'"))
    assert len(read(two("destination = 'd'", "destination = 'de'")).models) == 2
    assert "both go to" in refused(two("env = 'A'", ""), env={"A": "o/b@v2"})


def test_the_same_files_under_two_names_may_share_a_folder():
    registry = read(two("env = 'A'", ""), env={"A": "o/b"})
    assert registry.models["a"].destination == registry.models["b"].destination == "o_b"


def test_the_shipped_registry_has_what_it_should():
    registry = read(SHIPPED.read_text())
    assert registry.models["basic"].origin == registry.models["medium"].origin
    assert {
        name: (str(model.origin), str(model.destination), model.license, model.size)
        for name, model in registry.models.items()
        if isinstance(model.origin, HubRef)
    } == {
        "text-encoder": ("hf://google/gemma-3-1b-pt", "models/text-encoder", "LicenseRef-Gemma", 2 * 10**9),
        "scenarist": (
            "hf://mistralai/Mistral-7B-Instruct-v0.3",
            "models/scenarist/mistral-7b",
            "Apache-2.0",
            14 * 10**9,
        ),
        "clip": ("hf://openai/clip-vit-large-patch14", "models/clip", "MIT", 1_700_000_000),
        "captioning": ("hf://Qwen/Qwen2.5-Omni-7B", "models/captioning/qwen-omni-7b", "Apache-2.0", 15 * 10**9),
        **dict.fromkeys(
            ("basic", "medium"),
            ("hf://facebook/nllb-200-distilled-600M", "facebook_nllb-200-distilled-600M", "CC-BY-NC-4.0", None),
        ),
        "premium": (
            "hf://facebook/nllb-200-distilled-1.3B",
            "facebook_nllb-200-distilled-1.3B",
            "CC-BY-NC-4.0",
            None,
        ),
    }
    local = {name for name, model in registry.models.items() if isinstance(model.origin, Folder)}
    assert local == {"video", "video-fp8", "video-distilled", "video-spatial-upscaler", "video-temporal-upscaler"}
    assert {"BASIC_MODEL", "MEDIUM_MODEL", "PREMIUM_MODEL"} <= {model.env for model in registry.models.values()}
    assert registry.service("translation").models == ("basic", "medium", "premium")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        read(text)
    except Invalid as e:
        assert e.code == "invalid.registry"
