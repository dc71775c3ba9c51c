"""The package: what the wheel holds, what an import pulls in, and under which licence"""

import configparser
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_exactly_the_four_import_names(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    metadata = f"artifactstore-{PROJECT['version']}.dist-info"
    assert top == {"artifactstore", "artstore", "artmodels", "artifactstore_migrations", metadata}


def test_the_wheel_holds_every_module_once(wheel):
    names = wheel.namelist()
    assert len(set(names)) == len(names)
    expected = {path.as_posix() for path in modules("artifactstore")}
    expected |= {path.relative_to("cli").as_posix() for path in modules("cli")}
    expected |= {path.relative_to("models").as_posix() for path in modules("models")}
    expected |= {f"artifactstore_{path.as_posix()}" for path in modules("migrations")}
    assert {name for name in names if name.endswith(".py")} == expected
    assert "artifactstore/py.typed" in names


def test_the_wheel_names_its_licence_and_its_commands(wheel):
    metadata = wheel.read(f"artifactstore-{PROJECT['version']}.dist-info/METADATA").decode()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    commands = configparser.ConfigParser()
    commands.read_string(wheel.read(f"artifactstore-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    assert dict(commands["console_scripts"]) == PROJECT["scripts"]


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def loaded_by(statement):
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    heavy = {
        "torch",
        "numpy",
        "sqlalchemy",
        "alembic",
        "fsspec",
        "s3fs",
        "psycopg",
        "typer",
        "rich",
        "urllib3",
        "huggingface_hub",
    }
    assert not loaded_by("import artifactstore") & heavy


def test_importing_the_command_loads_no_torch():
    assert not loaded_by("import artstore.main") & {"torch", "numpy", "s3fs", "psycopg"}


CONSTRAINTS = {
    canonicalize_name(pin.name): pin
    for pin in map(Requirement, filter(None, (ROOT / "constraints.txt").read_text().split("\n")[1:]))
}
EXTRAS = PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    "needed", sorted({*PROJECT["dependencies"], *(need for needs in EXTRAS.values() for need in needs)})
)
def test_each_dependency_is_pinned_to_a_version_it_allows(needed):
    need = Requirement(needed)
    if need.name == PROJECT["name"]:
        assert need.extras <= set(EXTRAS)
        return
    (pin,) = CONSTRAINTS[canonicalize_name(need.name)].specifier
    assert pin.operator == "=="
    assert need.specifier.contains(pin.version)
