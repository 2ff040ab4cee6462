"""`s3-file-uploader check`: everything an upload needs, looked at one after the other."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.cli.doctor.finding import Finding, Level, ok
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, find_place, load_settings, open_reader
from s3_file_uploader.cli.presentation import write_json
from s3_file_uploader.config import manner_of, needs_store, place_of
from s3_file_uploader.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from s3_file_uploader.config import Rule, Settings

__all__ = ["add_arguments", "exit_code_of", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument(
        "--probe",
        action="store_true",
        help="also put small objects into the bucket to see what the store supports, and remove them",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    settings = _settings(arguments)
    findings: list[Finding] = []
    try:
        for finding in _examine(settings, probe=arguments.probe):
            findings.append(finding)
            if not arguments.json:
                out.writelines(f"{line}\n" for line in _lines(finding))
                out.flush()  # some answers take their time: show each when it is there
    except KeyboardInterrupt:
        if arguments.json:  # what a probe could not remove is in there
            _write(findings, ExitCode.INTERRUPTED, out)
        raise
    code = exit_code_of(findings)
    if arguments.json:
        _write(findings, code, out)
    return code


def _write(findings: Iterable[Finding], code: ExitCode, out: TextIO) -> None:
    write_json({"format": 1, "exit_code": int(code), "findings": [_as_json(one) for one in findings]}, out)


def _settings(arguments: argparse.Namespace) -> Settings:
    """Those that were named, or those of the last run of the one ledger there is."""
    if arguments.source or arguments.config or getattr(arguments, "setting_path_name", None):
        return load_settings(arguments).settings
    try:
        reader, place = open_reader(find_place(arguments))
    except LedgerError as error:
        advice = f"{error.advice} `check` needs SRC and DST, or --config, meanwhile."
        raise ConfigurationError(str(error), advice=advice) from error
    if reader is not None:
        reader.close()
    if not place.settings.rules:
        raise ConfigurationError(
            "say what to check", advice="Give SRC and DST as for `run`, or --config FILE."
        )
    return place.settings


def _examine(settings: Settings, *, probe: bool) -> Iterator[Finding]:
    from s3_file_uploader.cli.doctor.folders import examine_folders  # noqa: PLC0415  # not for `check --help`
    from s3_file_uploader.cli.doctor.machine import (  # noqa: PLC0415  # as above
        examine_disk,
        examine_ledger,
        examine_limits,
        examine_versions,
    )

    yield from examine_versions()
    yield from examine_ledger(os.path.join(settings.state_directory, settings.name))
    yield from examine_disk([settings.state_directory, *_archives(settings.rules)])
    yield from examine_limits()
    yield from chain.from_iterable(map(examine_folders, settings.rules))
    through = [rule for rule in settings.rules if rule.transport == "stream-manager"]
    if through:
        from s3_file_uploader.cli.doctor.stream_manager import (  # noqa: PLC0415  # AWS's SDK
            examine_stream_manager,
        )

        yield from examine_stream_manager(settings, through)
        if probe:
            text = (
                "nothing is put into the bucket through Stream Manager: the first file of yours is the probe"
            )
            yield ok("stream manager", text)
    carried = {rule.name for rule in through}
    for rule in _one_for_each_destination(map(_asked_directly, filter(needs_store, settings.rules))):
        from s3_file_uploader.cli.doctor.store import examine_store  # noqa: PLC0415  # awscrt and ssl

        yield from examine_store(rule, probe=probe and rule.name not in carried)


def _asked_directly(rule: Rule) -> Rule:
    """The rule as it looks at objects itself, whoever carries them."""
    return rule if rule.transport == "s3" else replace(rule, transport="s3", verify="trust")


def _archives(rules: Iterable[Rule]) -> Iterator[str]:
    return (rule.archive_directory for rule in rules if rule.archive_directory)


def _one_for_each_destination(rules: Iterable[Rule]) -> list[Rule]:
    """Rules that make alike objects in one place get one answer."""
    return list({(place_of(one), manner_of(one), one.object_key_prefix): one for one in rules}.values())


def exit_code_of(findings: Iterable[Finding]) -> ExitCode:
    """DESTINATION where nothing but the destination fails; SOME_FAILED where something else does."""
    failed = [finding for finding in findings if finding.level is Level.FAIL]
    if not failed:
        return ExitCode.DONE
    return ExitCode.DESTINATION if all(one.of_destination for one in failed) else ExitCode.SOME_FAILED


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.level.value:4}  {finding.area}: {finding.text}"
    if finding.advice:
        yield f"      Try: {finding.advice}"


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "level": finding.level.value,
        "area": finding.area,
        "text": finding.text,
        "try": finding.advice or None,
        "settings": dict(finding.settings),
    }
