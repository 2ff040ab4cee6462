"""Recipes as each nucleus runs them: variables, keys, folders, environment, processes."""

from __future__ import annotations

import os
import signal
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from support.nucleus import CLASSIC, LITE, FakeNucleus, Installed, RecipeRefused
from support.nucleus.interpolation import fill_classic, fill_lite

if TYPE_CHECKING:
    from pathlib import Path

BOTH = pytest.mark.parametrize("kind", [CLASSIC, LITE])
NAME = "com.example.Uploader"
VALUES = {"work:path": "/w", "iot:thingName": "T"}
CONFIGURATION = {"X": "x", "n": 5, "on": True, "map": {"k": "v"}, "nasty": "a\"b$c`d\\e'f g\nh"}


def recipe(lifecycle: Any, **more: Any) -> dict[str, Any]:
    return {
        "ComponentName": NAME,
        "ComponentVersion": "1.2.3",
        "ComponentConfiguration": {"DefaultConfiguration": CONFIGURATION},
        "Manifests": [{"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": lifecycle}],
        **more,
    }


def installed(tmp_path: Path, kind: str, script: Any, **more: Any) -> Installed:
    return Installed(recipe({"run": script}), more.pop("artifacts", []), tmp_path, kind=kind, **more)


def printed(component: Installed, environment: dict[str, str] | None = None) -> str:
    with component.start("run", {"PATH": os.defpath, **(environment or {})}) as script:
        script.wait()
        return script.output


# -- variables


@pytest.mark.parametrize(
    ("text", "filled", "is_whole"),
    [
        ("cd {work:path} && x", "cd /w && x", True),
        ("a ${HOME} b", "a $", False),
        ("a {configuration:/none} b", "a ", False),
        ("a {configuration:/} b", "a ", False),
        ("a {other:configuration:/X} b", "a ", False),
        ("a {work:none} b", "a ", False),
        ("a { b", "a ", False),
        ("a { b; } c", "a ", False),
        ("{" + "x" * 300 + "}", "", False),
        ("{configuration:/X}{configuration:/n}{configuration:/on}", "x5true", True),
        ("{configuration:/map/k} {configuration:/map}", r"v {\"k\":\"v\"}", True),
    ],
)
def test_lite_takes_every_brace_as_a_variable_and_ends_where_it_cannot_fill_one(
    text: str, filled: str, is_whole: bool
) -> None:
    assert fill_lite(text, VALUES, CONFIGURATION) == (filled, is_whole)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("cd {work:path} && x", "cd /w && x"),
        ("a ${HOME} {configuration:/none} { b; }", "a ${HOME} {configuration:/none} { b; }"),
        ("{configuration:/X} {configuration:/n} {configuration:/on}", "x 5 true"),
        ("{configuration:/map}", '{"k":"v"}'),
        ("{configuration:/nasty}", CONFIGURATION["nasty"]),
        ("{work:none} {other:configuration:/X}", "{work:none} {other:configuration:/X}"),
    ],
)
def test_classic_replaces_what_it_knows_and_leaves_the_rest(text: str, filled: str) -> None:
    assert fill_classic(text, VALUES, CONFIGURATION) == filled


def test_a_value_in_double_quotes_survives_lite_whole(tmp_path: Path) -> None:
    component = installed(tmp_path, LITE, 'printf %s "{configuration:/nasty}"')
    assert printed(component) == CONFIGURATION["nasty"]


def test_a_value_runs_as_a_program_on_classic(tmp_path: Path) -> None:
    component = installed(
        tmp_path, CLASSIC, 'echo "{configuration:/X}"', configuration={"X": '"; echo injected; "'}
    )
    assert "injected" in printed(component).splitlines()


def test_what_is_left_of_a_script_that_lite_cuts_still_runs(tmp_path: Path) -> None:
    component = installed(tmp_path, LITE, "echo first\necho {none:here}\necho last")
    assert printed(component) == "first\n\n"


# -- keys


def test_lite_knows_keys_by_their_exact_letters_and_classic_by_any(tmp_path: Path) -> None:
    for lifecycle in ({"Run": {"Script": "echo ran"}}, {"run": {"script": "echo ran"}}, {"Run": "echo ran"}):
        given = recipe(lifecycle)
        assert printed(Installed(given, [], tmp_path, kind=CLASSIC)) == "ran\n"
        with pytest.raises(RecipeRefused):
            Installed(given, [], tmp_path, kind=LITE).script("run")
    assert printed(installed(tmp_path, LITE, {"Script": "echo ran"})) == "ran\n"


def test_lite_passes_over_a_manifest_without_runtime(tmp_path: Path) -> None:
    given = recipe({"run": "echo ran"})
    del given["Manifests"][0]["Platform"]["runtime"]
    assert printed(Installed(given, [], tmp_path, kind=CLASSIC)) == "ran\n"
    with pytest.raises(RecipeRefused):
        Installed(given, [], tmp_path, kind=LITE)


@BOTH
def test_variables_of_setenv_reach_the_process(tmp_path: Path, kind: str) -> None:
    own = {"Script": 'echo "$A $B $C"', "Setenv": {"B": "{iot:thingName}", "C": "it's"}}
    component = Installed(recipe({"Setenv": {"A": "1", "B": "0"}, "run": own}), [], tmp_path, kind=kind)
    assert printed(component) == "1 Thing it's\n"


# -- where it runs


@BOTH
def test_paths_are_those_of_the_nucleus(tmp_path: Path, kind: str) -> None:
    script = "echo {artifacts:path}; echo {artifacts:decompressedPath}; echo {work:path}; echo {kernel:rootPath}; pwd"
    end = "/" if kind == LITE else ""
    assert printed(installed(tmp_path, kind, script)).splitlines() == [
        f"{tmp_path}/packages/artifacts/{NAME}/1.2.3{end}",
        f"{tmp_path}/packages/artifacts-unarchived/{NAME}/1.2.3{end}",
        f"{tmp_path / 'work' / NAME}{end}",
        f"{tmp_path}",
        str(tmp_path / "work" / NAME),
    ]


@BOTH
@pytest.mark.parametrize("is_local", [False, True])
def test_archives_are_unzipped_for_reading_only_but_not_by_a_local_deployment_on_lite(
    tmp_path: Path, kind: str, is_local: bool
) -> None:
    archive = tmp_path / "uploader.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("package/program.py", "print('hello')")
    for _ in range(2):  # it may be deployed again
        component = installed(tmp_path / "root", kind, "true", artifacts=[archive], is_local=is_local)
    kept = os.path.join(component.artifacts, "uploader.zip")
    unzipped = os.path.join(component.decompressed, "uploader", "package", "program.py")
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o440
    if kind == LITE and is_local:
        assert not os.path.exists(unzipped)
    else:
        assert stat.S_IMODE(os.stat(unzipped).st_mode) == 0o440


@BOTH
def test_a_process_gets_what_the_nucleus_gives_and_nothing_else(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TESTER", "1")
    given = recipe({"run": "env"}, ComponentDependencies={"aws.greengrass.TokenExchangeService": {}})
    with FakeNucleus(kind, component=NAME, recipe=given) as nucleus:
        component = Installed(given, [], tmp_path, kind=kind)
        environment = nucleus.environment(NAME, component.work, thing_name="Thing7")
        lines = printed(component, environment).splitlines()
        found = dict(line.split("=", 1) for line in lines)
        assert set(found) - {"PWD", "OLDPWD", "SHLVL", "_"} == set(environment)
        assert found["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"] == nucleus.socket_path
        assert found["SVCUID"] == found["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        assert found["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == nucleus.credentials_uri
        assert (found["AWS_IOT_THING_NAME"], found["GGC_VERSION"]) == ("Thing7", nucleus.kind.version)
        assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == nucleus.region


@BOTH
def test_without_the_token_exchange_service_there_are_no_credentials(tmp_path: Path, kind: str) -> None:
    with FakeNucleus(kind) as nucleus:
        environment = nucleus.environment(nucleus.component, tmp_path)
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in environment
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" in environment


def test_variables_of_a_proxy_are_empty_on_classic_and_missing_on_lite(tmp_path: Path) -> None:
    with FakeNucleus(CLASSIC) as classic, FakeNucleus(LITE) as lite:
        assert classic.environment(classic.component, tmp_path)["HTTPS_PROXY"] == ""
        assert "HTTPS_PROXY" not in lite.environment(lite.component, tmp_path)


# -- processes


@BOTH
def test_exit_status_output_and_errors_are_the_script_s(tmp_path: Path, kind: str) -> None:
    component = installed(tmp_path, kind, "echo out; echo err >&2; exit 3")
    with component.start("run", {"PATH": os.defpath}) as script:
        assert script.wait() == 3
        assert (script.output, script.errors) == ("out\n", "err\n")
        assert not script.is_running


@BOTH
def test_a_signal_reaches_the_whole_group(tmp_path: Path, kind: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    inner = f"exec 3>{fifo}; trap 'echo told >&3; exit' TERM; echo ready >&3; while :; do sleep 0.01; done"
    component = installed(tmp_path / "root", kind, f'sh -c "{inner}"; exit $?')
    with component.start("run", {"PATH": os.defpath}) as script, open(fifo, encoding="ascii") as heard:
        assert heard.readline() == "ready\n"
        assert script.is_running
        assert script.stop() == -signal.SIGTERM
        assert heard.read() == "told\n"


@BOTH
def test_leaving_the_block_kills_what_is_left(tmp_path: Path, kind: str) -> None:
    component = installed(tmp_path, kind, "sleep 1000")
    with component.start("run", {"PATH": os.defpath}) as script, pytest.raises(TimeoutError):
        script.wait(0.05)
    assert script.wait() == -signal.SIGKILL
