"""What a recipe must respect so that both nuclei and the GDK take it, one rule a test.

Each for both variants, as the source stands there and as it is built.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

from component.recipes import built as built_of
from component.recipes import source
from component_build.project import VARIANTS, read_component
from s3_file_uploader import __version__
from support.nucleus.interpolation import fill_classic, fill_lite

if TYPE_CHECKING:
    from component.recipes import Recipe

_PATHS = {
    "artifacts:path": "/gg/packages/artifacts/c/1.0.0",
    "artifacts:decompressedPath": "/gg/packages/artifacts-unarchived/c/1.0.0",
    "work:path": "/gg/work/c",
}


# ---- the file ------------------------------------------------------------------------------------


def test_the_format_is_the_one_that_there_is(recipe: Recipe) -> None:
    assert recipe.content["RecipeFormatVersion"] == "2020-01-25"


def test_nothing_but_the_parts_that_every_nucleus_knows_is_said_of_the_component(recipe: Recipe) -> None:
    assert set(recipe.content) == {
        *("RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentPublisher", "ComponentType"),
        *("ComponentDescription", "ComponentDependencies", "ComponentConfiguration", "Manifests"),
    }


def test_name_version_and_author_are_placeholders_in_thesource() -> None:
    for variant in VARIANTS:
        content = source(variant).content
        assert content["ComponentName"] == "{COMPONENT_NAME}"
        assert content["ComponentVersion"] == "{COMPONENT_VERSION}"
        assert content["ComponentPublisher"] == "{COMPONENT_AUTHOR}"


def test_they_are_what_the_configuration_of_the_gdk_says_in_the_built_one(built: Recipe) -> None:
    component = read_component(VARIANTS[built.variant].folder)

    assert (built.content["ComponentName"], built.content["ComponentVersion"]) == component[:2]
    assert built.content["ComponentPublisher"] == component.author
    assert "{COMPONENT" not in built.text


def test_the_version_is_the_programs(built: Recipe) -> None:
    assert built.content["ComponentVersion"] == __version__


def test_the_recipe_is_small_enough_for_nucleus_lite(built: Recipe) -> None:
    assert len(built.text.encode()) < 8_000


def test_it_still_is_as_the_gdk_writes_it_anew_and_as_json(built: Recipe) -> None:
    assert len(yaml.dump(built.content).encode()) < 8_000
    assert len(json.dumps(built.content).encode()) < 8_000


def test_what_is_built_says_the_same_as_its_source(built: Recipe) -> None:
    text = source(built.variant).text
    component = read_component(VARIANTS[built.variant].folder)
    filled = (
        text.replace("{COMPONENT_NAME}", component.name)
        .replace("{COMPONENT_VERSION}", component.version)
        .replace("{COMPONENT_AUTHOR}", component.author)
    )

    assert built.content == yaml.safe_load(filled)
    assert "#" not in built.text.replace("aws.greengrass#Publish", "")


def test_the_two_variants_differ_only_in_what_carries_the_files() -> None:
    one, other = built_of("stream-manager").content, built_of("direct").content
    defaults = [each["ComponentConfiguration"]["DefaultConfiguration"] for each in (one, other)]
    for each in (one, other):
        del each["ComponentName"], each["ComponentDescription"], each["ComponentDependencies"]
    assert [each.pop("Transport") for each in defaults] == ["stream-manager", "s3"]
    names = [list(each.pop("accessControl").values()) for each in defaults]

    assert one == other
    assert next([list(policy.values()) for policy in each] for each in names) == [
        list(policy.values()) for policy in names[1]
    ]


# ---- the manifest --------------------------------------------------------------------------------


def test_the_platform_says_linux_and_any_runtime_which_lite_wants(recipe: Recipe) -> None:
    assert recipe.manifest["Platform"] == {"os": "linux", "runtime": "*"}


def test_there_is_one_artifact_whose_address_publish_fills_in(recipe: Recipe) -> None:
    [artifact] = recipe.manifest["Artifacts"]

    assert artifact["URI"] == "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/s3-file-uploader.zip"


def test_the_artifact_stays_packed(recipe: Recipe) -> None:
    [artifact] = recipe.manifest["Artifacts"]

    assert artifact["Unarchive"] == "NONE"


def test_the_steps_of_the_lifecycle_are_install_and_run_in_lower_case(recipe: Recipe) -> None:
    assert list(recipe.lifecycle) == ["install", "run"]


def test_below_a_step_stand_only_keys_that_lite_knows_as_it_spells_them(recipe: Recipe) -> None:
    for step in recipe.lifecycle.values():
        assert set(step) <= {"Script", "RequiresPrivilege", "Setenv", "Timeout"}


def test_no_step_asks_for_privilege(recipe: Recipe) -> None:
    assert [step["RequiresPrivilege"] for step in recipe.lifecycle.values()] == [False, False]


def test_an_installation_has_time_enough_on_a_slow_device_and_run_has_no_end(recipe: Recipe) -> None:
    timeout = recipe.lifecycle["install"]["Timeout"]

    assert isinstance(timeout, int)
    assert timeout >= 600
    assert "Timeout" not in recipe.lifecycle["run"]


# ---- the scripts ---------------------------------------------------------------------------------


def test_every_brace_of_a_script_belongs_to_a_variable_that_every_nucleus_knows(recipe: Recipe) -> None:
    for script in recipe.scripts:
        known = re.sub(r"\{(artifacts:path|artifacts:decompressedPath|work:path)\}", "", script)
        assert not set(known) & set("{}")


def test_variables_stand_in_double_quotes(recipe: Recipe) -> None:
    for script in recipe.scripts:
        for line in script.splitlines():
            for found in re.finditer(r"\{[^}]*\}", line):
                assert line[: found.start()].count('"') % 2 == 1, line
                assert line[: found.start()].count("'") % 2 == 0, line


def test_no_configuration_passes_through_the_shell(recipe: Recipe) -> None:
    for step in recipe.lifecycle.values():
        assert "Setenv" not in step
        assert "configuration" not in step["Script"]


def test_lite_and_classic_fill_in_the_same_script(recipe: Recipe) -> None:
    for script in recipe.scripts:
        on_lite, is_whole = fill_lite(script, _PATHS, {})
        assert is_whole
        assert on_lite == fill_classic(script, _PATHS, {})


def test_the_program_takes_the_place_of_the_shell_so_that_signals_reach_it(recipe: Recipe) -> None:
    for phase, step in recipe.lifecycle.items():
        assert step["Script"].splitlines()[-1] == f'exec "$python" -I -B "$artifact" {phase} "{{work:path}}"'


def test_the_two_scripts_differ_in_their_last_line_only(recipe: Recipe) -> None:
    install, run = recipe.scripts

    assert install.splitlines()[:-1] == run.splitlines()[:-1]


def test_nothing_is_installed_for_the_user_or_the_system(recipe: Recipe) -> None:
    for script in recipe.scripts:
        assert not re.search(r"\bpip3?\b|--user|sudo (?!apt)", script)


# ---- dependencies --------------------------------------------------------------------------------


def test_the_component_depends_on_what_carries_its_files_and_gives_it_credentials(recipe: Recipe) -> None:
    names = {
        "stream-manager": {"aws.greengrass.StreamManager", "aws.greengrass.TokenExchangeService"},
        "direct": {"aws.greengrass.TokenExchangeService"},
    }
    dependencies = recipe.content["ComponentDependencies"]

    assert set(dependencies) == names[recipe.variant]
    assert list(dependencies.values()) == [
        {"VersionRequirement": ">=2.0.0", "DependencyType": "HARD"} for _ in dependencies
    ]
