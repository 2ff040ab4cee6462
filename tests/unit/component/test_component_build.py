"""The build's own decisions: pins, targets, what belongs into the artifact, what the recipe may not be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from component_build.archive import artifact_content, write_archive
from component_build.pins import as_requirements, installer_among, read_pins
from component_build.project import ROOT, VARIANTS, Component, program_version, read_component
from component_build.recipe import MOST_BYTES, built_recipe
from component_build.refusal import Refusal
from component_build.wheels import read_targets
from s3_file_uploader import __version__

_COMPONENT = Component("some.Component", "1.2.3", "somebody")


# ---- pins ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_requirement_of_the_component_is_a_pin_with_hashes(variant: str) -> None:
    pins = read_pins(VARIANTS[variant].requirements)

    names = [pin.name for pin in pins]
    assert {"awscrt", "awsiotsdk", "msgspec", "pip"} <= set(names)
    assert ("stream-manager" in names) == (variant == "stream-manager")
    assert all(pin.text.count("--hash=sha256:") for pin in pins)


def test_pins_are_written_as_they_were_read(tmp_path: Path) -> None:
    source = Path(VARIANTS["direct"].requirements)
    written = tmp_path / "requirements.txt"
    written.write_text(as_requirements(read_pins(str(source))), encoding="utf-8")

    lines = [
        line for line in source.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    assert read_pins(str(written)) == read_pins(str(source))
    assert sum("--hash" in line for line in lines) == written.read_text(encoding="utf-8").count("--hash")


def test_a_marker_stays_with_its_pin() -> None:
    [colorama] = [pin for pin in read_pins(VARIANTS["direct"].requirements) if pin.name == "colorama"]

    assert colorama.text.startswith("colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:")


def test_a_requirement_without_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("msgspec==0.22.0\n", encoding="utf-8")

    with pytest.raises(Refusal, match=r"'msgspec==0.22.0' is no pin with hashes\nTry: make pins"):
        read_pins(str(path))


def test_requirements_without_pip_are_refused() -> None:
    with pytest.raises(Refusal, match="do not pin pip"):
        installer_among([])


# ---- targets -------------------------------------------------------------------------------------


def test_wheels_are_asked_for_by_platform_and_python() -> None:
    targets = read_targets("linux/x86_64 linux/aarch64 py3.10-3.11 py3.13")

    assert [str(target) for target in targets] == [
        f"linux/{machine} py3.{minor}" for machine in ("aarch64", "x86_64") for minor in (10, 11, 13)
    ]


def test_without_a_python_all_that_are_tested_are_meant() -> None:
    assert [target.minor for target in read_targets("linux/armv7l")] == [10, 11, 12, 13]


def test_nothing_asked_is_nothing_brought() -> None:
    assert read_targets(" ") == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("linux/riscv64", "'linux/riscv64' is neither a platform"),
        ("aarch64", "'aarch64' is neither a platform"),
        ("linux/aarch64 3.11", "'3.11' is neither"),
        ("linux/aarch64 py3.9-3.10", "Python 3.9 is none that the program is tested with"),
        ("py3.11", "no platform"),
    ],
)
def test_other_words_are_refused_with_an_example(said: str, reason: str) -> None:
    with pytest.raises(Refusal, match=reason) as refusal:
        read_targets(said)
    assert '\nTry: "linux/aarch64 linux/x86_64 py3.10-3.13"' in str(refusal.value)


# ---- the project ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_configuration_of_the_gdk_has_the_programs_version(variant: str) -> None:
    assert program_version() == __version__ == read_component(VARIANTS[variant].folder).version


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_configuration_of_the_gdk_has_the_places_to_fill_in(variant: str) -> None:
    path = Path(VARIANTS[variant].folder, "gdk-config.json")
    [said] = json.loads(path.read_text(encoding="utf-8"))["component"].values()

    assert said["publish"] == {"bucket": "<PLACEHOLDER BUCKET HERE>", "region": "<PLACEHOLDER REGION>"}
    assert said["build"]["build_system"] == "custom"
    assert said["build"]["custom_build_command"][0] == "python3"
    assert not list(path.parent.glob("recipe.json"))  # the GDK refuses two recipes


def test_the_names_of_the_components_are_those_that_were_promised() -> None:
    assert [read_component(variant.folder).name for variant in VARIANTS.values()] == [
        "aws.greengrass.labs.s3.file.Uploader",
        "aws.greengrass.labs.s3.file.Uploader.Direct",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no configuration of one component"),
        ('{"component": {}}', "is no configuration of one component"),
        ('{"component": {"a": {"version": "1.0", "author": "x"}}}', "version is '1.0'"),
    ],
)
def test_a_configuration_that_says_too_little_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "gdk-config.json").write_text(content, encoding="utf-8")

    with pytest.raises(Refusal, match=reason):
        read_component(str(tmp_path))


def test_the_gdks_own_word_for_the_next_version_is_taken(tmp_path: Path) -> None:
    content = {"component": {"a": {"version": "NEXT_PATCH", "author": "x"}}}
    (tmp_path / "gdk-config.json").write_text(json.dumps(content), encoding="utf-8")

    assert read_component(str(tmp_path)).version == "NEXT_PATCH"


# ---- the recipe ----------------------------------------------------------------------------------


def test_a_recipe_that_lite_would_refuse_is_not_built() -> None:
    line = "A: b\n"
    fits = line * (MOST_BYTES // len(line))

    assert built_recipe(fits, _COMPONENT) == fits
    with pytest.raises(Refusal, match="nucleus lite refuses more than 7999"):
        built_recipe(fits + line, _COMPONENT)


def test_a_placeholder_that_nobody_fills_in_is_refused() -> None:
    with pytest.raises(Refusal, match="a placeholder that nobody fills in"):
        built_recipe('A: "{COMPONENT_NAMES}"\n', _COMPONENT)


# ---- the artifact --------------------------------------------------------------------------------


def _content(tmp_path: Path, *, wheel: bytes = b"wheel") -> dict[str, bytes]:
    (tmp_path / "pip-1-py3-none-any.whl").write_bytes(b"pip")
    (tmp_path / "other-1-py3-none-any.whl").write_bytes(wheel)
    return artifact_content(
        version="1.2.3",
        pins=read_pins(VARIANTS["direct"].requirements),
        installer=str(tmp_path / "pip-1-py3-none-any.whl"),
        wheels=[str(tmp_path / "other-1-py3-none-any.whl")],
        bundled=["linux/aarch64 py3.11"],
    )


def test_the_artifact_says_of_itself_what_the_device_asks(tmp_path: Path) -> None:
    said = json.loads(_content(tmp_path)["build.json"])

    assert (said["version"], said["bundled"]) == ("1.2.3", ["linux/aarch64 py3.11"])
    assert len(said["build_id"]) == 64


def test_another_byte_in_it_is_another_build(tmp_path: Path) -> None:
    one, same, other = (_content(tmp_path, wheel=wheel)["build.json"] for wheel in (b"a", b"a", b"b"))

    assert one == same != other


def test_the_archive_tells_nothing_of_the_machine_that_made_it(tmp_path: Path) -> None:
    write_archive({"b": b"2", "a.whl": b"1"}, str(tmp_path / "a.zip"))

    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert [
            (member.filename, member.date_time, member.external_attr >> 16, member.compress_type)
            for member in archive.infolist()
        ] == [
            ("a.whl", (1980, 1, 1, 0, 0, 0), 0o100644, zipfile.ZIP_STORED),
            ("b", (1980, 1, 1, 0, 0, 0), 0o100644, zipfile.ZIP_DEFLATED),
        ]


def test_the_whole_package_goes_in_but_the_demo(tmp_path: Path) -> None:
    package = Path(ROOT, "src", "s3_file_uploader")
    expected = {
        f"s3_file_uploader/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent.name != "demo"
    }

    inside = {name for name in _content(tmp_path) if name.startswith("s3_file_uploader/")}

    assert inside == expected
    assert "s3_file_uploader/ledger/schema.sql" in inside
