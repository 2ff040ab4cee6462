"""The build as the GDK calls it, in a clone whose folder has another name, with a space in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from component.devices import NEW, OLD
from component.gdk import Built, build, publish
from s3_file_uploader import __version__

pytestmark = pytest.mark.slow

_DIRECT = Path("packaging", "component", "direct")
_BUILDERS = {version: path for version, path in {**OLD, **NEW}.items() if version == "3.8" or version in NEW}


@pytest.fixture(params=["plain", "direct"])
def built(request: pytest.FixtureRequest) -> Built:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Built)
    return found


def _names(artifact: Path) -> list[str]:
    with zipfile.ZipFile(artifact) as archive:
        return archive.namelist()


def test_the_recipe_has_no_placeholder_left_but_those_of_publish(built: Built) -> None:
    recipe = yaml.safe_load(built.recipe)

    assert (recipe["ComponentName"], recipe["ComponentVersion"]) == (built.name, __version__)
    assert "{COMPONENT" not in built.recipe
    assert re.findall("[A-Z]+_[A-Z]+", built.recipe) == ["BUCKET_NAME", "COMPONENT_NAME", "COMPONENT_VERSION"]


def test_publish_finds_one_file_for_each_address(built: Built) -> None:
    published = publish(built, "bucket-eu-west-1-123", "0.1.1")

    [artifact] = published["Manifests"][0]["Artifacts"]
    assert artifact["URI"] == f"s3://bucket-eu-west-1-123/{built.name}/0.1.1/s3-file-uploader.zip"
    assert published["ComponentVersion"] == "0.1.1"
    assert published["Manifests"][0]["Lifecycle"] == yaml.safe_load(built.recipe)["Manifests"][0]["Lifecycle"]


def test_what_is_published_is_small_enough_for_nucleus_lite(built: Built) -> None:
    published = publish(built, "b" * 63, "100.100.100")

    assert len(yaml.dump(published).encode()) < 8_000
    assert len(json.dumps(published).encode()) < 8_000


def test_the_artifact_holds_only_what_runs(built: Built) -> None:
    allowed = re.compile(
        r"__main__\.py|build\.json|LICENSE|requirements\.txt|installer/pip-[0-9.]+-py3-none-any\.whl"
        r"|component_install/\w+\.py|s3_file_uploader/([a-z0-9_]+/)*(\w+\.py|schema\.sql|py\.typed)"
    )
    names = _names(built.artifact)

    assert [name for name in names if not allowed.fullmatch(name)] == []
    assert not [name for name in names if re.search(r"demo/|test|\.git|__pycache__|docs/|\.pyc", name)]
    assert {
        "__main__.py",
        "s3_file_uploader/cli/run_command.py",
        "s3_file_uploader/ledger/schema.sql",
    } <= set(names)


def test_the_requirements_are_the_pins_without_the_installer(built: Built) -> None:
    with zipfile.ZipFile(built.artifact) as archive:
        requirements = archive.read("requirements.txt").decode()

    assert "awscrt==" in requirements
    assert not re.search(r"^pip==", requirements, re.MULTILINE)
    assert ("stream-manager==" in requirements) == (not built.name.endswith("Direct"))


def test_the_bundled_wheels_are_all_there(bundled: Path) -> None:
    wheels = [name for name in _names(bundled) if name.startswith("wheels/")]

    for version in NEW:
        ours = "cp" + version.replace(".", "")
        assert [name for name in wheels if name.startswith("wheels/msgspec-") and f"-{ours}-" in name]
    assert len([name for name in wheels if "/tqdm-" in name]) == 1  # one file serves them all


def test_the_same_sources_give_the_same_bytes(clone: Path, plain: Built) -> None:
    first = hashlib.sha256(plain.artifact.read_bytes()).hexdigest()
    for path in (clone / "src").rglob("*.py"):
        os.utime(path, (0, 0))  # before 1980
        path.chmod(0o600)

    again = build(clone)

    assert hashlib.sha256(again.artifact.read_bytes()).hexdigest() == first


def test_the_build_says_what_it_does_and_where_the_result_is(built: Built) -> None:
    lines = built.out.splitlines()

    assert lines[0] == f"building {built.name} {built.version}"
    assert re.fullmatch(r"  pip [0-9.]+, the installer on the device", lines[1])
    assert lines[2] == "  no wheels: the device needs a package index (WHEELS brings them along)"
    assert re.fullmatch(
        r"  greengrass-build/artifacts/.*/s3-file-uploader\.zip: [0-9.]+ MB, \d+ files", lines[3]
    )
    assert re.fullmatch(r"  greengrass-build/recipes/recipe\.yaml: \d+ bytes", lines[4])
    assert built.err == ""


def test_a_build_that_fails_says_so_loudly_and_leaves_nothing_to_publish(clone: Path) -> None:
    copy = clone.parent / "to fail"
    shutil.copytree(clone, copy, symlinks=True)

    built = build(copy, WHEELS="linux/sparc")

    assert built.code == 1
    assert "\nTHE COMPONENT WAS NOT BUILT: --wheels: 'linux/sparc' is neither a platform" in built.err
    assert 'Try: "linux/aarch64 linux/x86_64 py3.10-3.13"' in built.err
    assert not (copy / "greengrass-build").exists()


@pytest.mark.parametrize("python", _BUILDERS.values(), ids=list(_BUILDERS))
def test_any_python_from_3_8_on_builds_it_from_any_folder(clone: Path, direct: Built, python: str) -> None:
    command = [python, str(clone / "packaging/component/build.py"), "--variant", "direct"]

    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "s3_file_uploader/__main__.py" in _names(direct.artifact)


def test_make_passes_on_what_it_is_told(clone: Path) -> None:
    said = ["VARIANT=direct", "WHEELS=linux/aarch64 py3.11"]

    shown = subprocess.run(
        ["make", "--no-print-directory", "-n", "component", *said],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.splitlines()[-1].endswith(
        'packaging/component/build.py --variant "direct" --wheels "linux/aarch64 py3.11"'
    )


# ---- downloads -----------------------------------------------------------------------------------


def _asking(index: dict[str, str], clone: Path, wheels: str) -> subprocess.CompletedProcess[str]:
    """A build that has nothing from before, with only this to ask."""
    copy = clone.parent / "empty"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(clone, copy, symlinks=True)
    (copy / "build" / "component").unlink()
    for installer in (clone / "build" / "component").glob("installer-*"):
        shutil.copytree(installer, copy / "build" / "component" / installer.name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [sys.executable, "packaging/component/build.py", "--wheels", wheels],
        cwd=copy,
        env={**kept, "PIP_CONFIG_FILE": os.devnull, **index},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_without_a_wheel_for_a_platform_is_named(clone: Path, plain: Built, tmp_path: Path) -> None:
    assert plain.code == 0
    done = _asking({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}, clone, "linux/armv7l py3.11")

    assert done.returncode == 1
    assert re.search(
        r"THE COMPONENT WAS NOT BUILT: there is no wheel of awscrt [0-9.]+ for linux/armv7l py3\.11\n"
        r"Try: leave this platform or Python out of WHEELS\.",
        done.stderr,
    )


def test_without_a_network_the_build_says_that(clone: Path, plain: Built) -> None:
    assert plain.code == 0
    done = _asking(
        {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}, clone, "linux/aarch64 py3.11"
    )

    assert done.returncode == 1
    assert (
        "THE COMPONENT WAS NOT BUILT: pip could not reach a package index for linux/aarch64 py3.11"
        in done.stderr
    )
    assert "\nTry: the same with a network" in done.stderr
