"""Puts the settings together: flags, then the file, then AWS's environment, then the defaults.

Everything wrong is gathered and refused at once. Nothing here asks the network, and nothing is created;
the disk is asked whether SRC and PathName are folders, and where links lead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import combinations
from s3_file_uploader.config.arguments import absolute, destination_settings, path_name_of
from s3_file_uploader.config.carriage import check_bandwidth, check_telemetry
from s3_file_uploader.config.completion import complete_process, complete_rule
from s3_file_uploader.config.document import read_document
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, RULES_KEY, Field
from s3_file_uploader.config.problems import Problems, did_you_mean, shown
from s3_file_uploader.config.settings import SINGLE_RULE_NAME, Rule, Settings
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["DEFAULT", "Loaded", "load"]

DEFAULT = "default"
_COMPONENT = "component configuration"
_COMPONENT_ADVICE = (
    "Mend it in the component's configuration, by a deployment that merges the corrected keys; `s3-file-uploader"
    " config schema` lists all of them."
)
_NAME = "Name"
_TOP_KEYS = (*(each.key for each in PROCESS_FIELDS), *(each.key for each in RULE_FIELDS), RULES_KEY)
_RULE_KEYS = tuple(each.key for each in RULE_FIELDS)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each value came from: `origins[rule name, key]`, "" for the process."""

    settings: Settings
    origins: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody wrote, and where it stands: "flag --interval", "file config.yaml, rule csv"."""

    raw: object
    origin: str


Layer = dict[str, Given]


@dataclass(slots=True)
class _Load:
    """One load: what was given, strongest first, and what is wrong so far."""

    environment: Mapping[str, str]
    reading: bool
    flags: Layer = field(default_factory=dict)
    top: Layer = field(default_factory=dict)
    items: list[Layer] = field(default_factory=list)  # of the list Rules, where there is one
    file: str = ""  # "file config.yaml"
    has_list: bool = False
    unreadable: set[str] = field(default_factory=set)  # keys that somebody tried to give, in vain
    problems: Problems = field(default_factory=Problems)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)


def load(
    *,
    flags: Mapping[str, str | Sequence[str]] | None = None,
    file: str | None = None,
    source: str | None = None,
    destination: str | None = None,
    environment: Mapping[str, str],
    component: Mapping[str, object] | None = None,
    reading: bool = False,
    user_id: int | None = None,
    command: str = "run",
) -> Loaded:
    """All settings in force, or a ConfigurationError that names everything wrong with them.

    `flags` are by key (`{"EndpointUrl": "http://…"}`); `source` and `destination` are SRC and DST.
    `component` is the configuration that a Greengrass nucleus has for us; it stands in the place of a file.
    `reading`: for commands that look into a ledger and deliver nothing. They need no region and no
    thing name, and no rules either where Name says which ledger. `command` is whose --help to name.
    """
    this = _Load(environment, reading=reading, problems=Problems(command))
    _take_flags(this, flags or {}, source, destination)
    if file is not None:
        _take_document(this, read_document(file), f"file {file}")
    if component is not None:
        this.problems = Problems(advice=_COMPONENT_ADVICE)
        _take_document(this, component, _COMPONENT)
    process = _values(this, PROCESS_FIELDS, "", [this.flags, this.top])
    if reading and "name" in process and not _says_where(this):
        rules: list[Rule] = []
    else:
        rules = _rules(this)
    combinations.check_rules(rules, this.origins, this.problems)
    check_bandwidth(process, rules, this.origins, this.problems)
    if not reading:
        check_telemetry(process, this.origins, environment, this.problems, is_component=component is not None)
    complete_process(process, rules, this.origins, environment, user_id)
    combinations.check_state_directory(process["state_directory"], rules, this.problems)
    this.problems.raise_if_any()
    return Loaded(Settings(**process, rules=tuple(rules)), this.origins)


# --- Gathering what was given --------------------------------------------------------------------------


def _take_flags(
    this: _Load, flags: Mapping[str, str | Sequence[str]], source: str | None, destination: str | None
) -> None:
    known = {each.key: each for each in (*RULE_FIELDS, *PROCESS_FIELDS)}
    for key, raw in flags.items():
        if key not in known:
            this.problems.add(f"flag for {key}: unknown{did_you_mean(key, known)}")
        else:
            this.flags[key] = Given(_from_shell(known[key], raw), f"flag {known[key].flag}")
    if source is not None:
        _take_argument(this, "SRC", "PathName", lambda: {"PathName": path_name_of(source)})
    if destination is not None:
        _take_argument(this, "DST", "BucketName", lambda: destination_settings(destination))


def _from_shell(known: Field, raw: str | Sequence[str]) -> object:
    return absolute(raw) if known.setting.notation.is_path and isinstance(raw, str) else raw


def _take_argument(this: _Load, argument: str, key: str, read: Callable[[], dict[str, str]]) -> None:
    try:
        said = read()
    except ConfigurationError as error:
        this.problems.add(f"{error}. {error.advice}")
        this.unreadable.add(key)
        return
    for each, raw in said.items():
        if each in this.flags:
            this.problems.add(f"argument {argument} and {this.flags[each].origin} both say {each}: give one")
        this.flags[each] = Given(raw, f"argument {argument}")
    if argument == "DST":  # s3://bucket without a prefix means the bucket's root
        this.flags.setdefault("ObjectKeyPrefix", Given("", "argument DST"))


def _take_document(this: _Load, document: Mapping[str, object], where: str) -> None:
    this.file = where
    items = document.get(RULES_KEY)
    this.top = _layer(this, document, _TOP_KEYS, where)
    this.top.pop(RULES_KEY, None)
    if items is None:
        return
    this.has_list = True
    if not isinstance(items, list) or not items:
        this.problems.add(f"{where}: {RULES_KEY} is {shown(items)}; allowed: a list of rules, one at least")
        return
    for place, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            this.problems.add(f"{where}, rule {place}: {shown(item)} is no rule; allowed: keys and values")
            continue
        name = item.get(_NAME) or place
        this.items.append(_layer(this, item, _RULE_KEYS, f"{where}, rule {name}"))


def _layer(this: _Load, said: Mapping[str, object], known: Iterable[str], where: str) -> Layer:
    for key in said:
        if key not in known:
            this.problems.add(f"{where}: {_unknown(str(key), known)}")
    return {key: Given(raw, where) for key, raw in said.items() if key in known}


def _unknown(key: str, known: Iterable[str]) -> str:
    if key in _TOP_KEYS:
        return f"{key} stands in a rule; it concerns the whole process: write it at the top level"
    if any(word in key.lower() for word in ("secret", "accesskey", "password", "token")):
        return f"unknown key {key}; credentials come from AWS's own environment, never from here"
    return f"unknown key {key}{did_you_mean(key, known) or '; known are ' + ', '.join(known)}"


def _says_where(this: _Load) -> bool:
    return this.has_list or "PathName" in this.flags or "PathName" in this.top


# --- Values --------------------------------------------------------------------------------------------


def _rules(this: _Load) -> list[Rule]:
    if this.has_list and len(this.items) != 1 and "PathName" in this.flags:
        this.problems.add(
            f"{this.flags['PathName'].origin} says one PathName, and the file has {len(this.items)} rules: "
            "give one or the other"
        )
        return []
    single = {_NAME: Given(SINGLE_RULE_NAME, DEFAULT)}
    flags, top = _without_name(this.flags), _without_name(this.top)
    found = []
    for place, item in enumerate(this.items if this.has_list else [single], start=1):
        name = str(item[_NAME].raw) if _NAME in item else str(place)
        rule = _rule(this, [flags, item, top], name)
        found += [rule] if rule else []
    return found


def _without_name(layer: Layer) -> Layer:
    """Name names the ledger at the top level and on the command line, and a rule in the list."""
    return {key: given for key, given in layer.items() if key != _NAME}


def _rule(this: _Load, layers: list[Layer], name: str) -> Rule | None:
    """The rule, or None where something in it is wrong (and said)."""
    values = _values(this, RULE_FIELDS, name, layers)
    is_component = this.file == _COMPONENT
    for each in RULE_FIELDS:
        if each.required and each.key not in this.unreadable and _given(this, each, layers) is None:
            where = (
                f"{this.file}, rule {name}: " if this.has_list else f"{this.file}: " if is_component else ""
            )
            this.problems.add(_missing(each, where, is_component=is_component))
    if len(values) < len(RULE_FIELDS):
        return None
    complete_rule(values, this.origins, this.environment)
    rule = Rule(**values)
    combinations.check_rule(rule, this.origins, this.problems)
    if not this.reading:
        combinations.check_deliverable(rule, this.origins, this.environment, this.problems)
    return rule


def _missing(each: Field, where: str, *, is_component: bool) -> str:
    if each.key == _NAME:
        return f"{where}{_NAME} is missing: each of {RULES_KEY} needs one; allowed: {each.allowed}"
    if is_component:
        return f"{where}{each.key} is missing; allowed: {each.allowed}"
    argument = {"PathName": "SRC, ", "BucketName": "DST, "}[each.key]
    ways = f"{argument}{each.flag} or a configuration file"
    return f"{where}{each.key} is missing: give {ways}; allowed: {each.allowed}"


def _values(this: _Load, table: Iterable[Field], rule_name: str, layers: list[Layer]) -> dict[str, Any]:
    values = {}
    for each in table:
        given = _given(this, each, layers)
        if given is None:
            if not each.required:
                values[each.attribute] = each.default
                this.origins[rule_name, each.key] = DEFAULT
            continue
        try:
            values[each.attribute] = each.convert(given.raw)
            this.origins[rule_name, each.key] = given.origin
        except ValueError as error:
            this.problems.add(_refusal(each, given, str(error)))
    return values


def _given(this: _Load, each: Field, layers: list[Layer]) -> Given | None:
    for layer in layers:
        given = layer.get(each.key)
        if given is not None and not each.is_unset(given.raw):
            return given
    for variable in each.setting.environment:
        if this.environment.get(variable):
            raw = this.environment[variable]
            return Given(_from_shell(each, raw), f"environment {variable}")
    return None


def _refusal(each: Field, given: Given, reason: str) -> str:
    value = "(a value with credentials in it)" if "credentials" in reason else shown(given.raw)
    why = f": {reason}" if reason else ""
    near = did_you_mean(given.raw, each.words) if isinstance(given.raw, str) else ""
    return f"{given.origin}: {each.key} is {value}{why}; allowed: {each.allowed}{near}"
