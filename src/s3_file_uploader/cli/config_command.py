"""`s3-file-uploader config show|schema`: what is in force and where it came from; the JSON Schema.

`show` also shows a configuration that could not deliver yet (no region, say), names what is missing and
exits with USAGE. A configuration that cannot be understood is a ConfigurationError, as everywhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader import config
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, load_settings
from s3_file_uploader.cli.presentation import write_json
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from s3_file_uploader.config import Loaded, Settings

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`config show [SRC DST] [--config FILE] [flags]` and `config schema`."""
    actions = parser.add_subparsers(dest="config_action", required=True, metavar="show|schema")
    show = actions.add_parser(
        "show", help="what is in force, and where each value came from", allow_abbrev=False
    )
    add_place_arguments(show)
    show.add_argument("--json", action="store_true", help="as JSON, a stable contract")
    schema = actions.add_parser("schema", help="the JSON Schema of a configuration file", allow_abbrev=False)
    schema.add_argument("--json", action="store_true", help="changes nothing: the schema is JSON")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """Print to `out`; the exit code."""
    if arguments.config_action == "schema":
        write_json(config.schema(), out)
        return ExitCode.DONE
    loaded = load_settings(arguments, reading=True)
    missing = _what_a_delivery_misses(arguments)
    proxies = _proxies(loaded.settings, os.environ)
    if arguments.json:
        write_json(_as_json(loaded, proxies, missing), out)
    else:
        out.write(config.show(loaded))
        out.writelines(f"# Rule {name}{said}\n" for name, (_, said) in proxies.items())
        out.writelines(f"# {line}\n" for line in missing.splitlines())
    return ExitCode.USAGE if missing else ExitCode.DONE


def _what_a_delivery_misses(arguments: argparse.Namespace) -> str:
    try:
        load_settings(arguments)
    except ConfigurationError as error:
        return f"Not ready to deliver: {error}"
    return ""


def _as_json(loaded: Loaded, proxies: Mapping[str, tuple[str, str]], missing: str) -> dict[str, Any]:
    named = {rule: proxy for rule, (proxy, _) in proxies.items() if proxy}
    return {**config.as_json(loaded), "proxies": named, "problem": missing or None}


def _proxies(settings: Settings, environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """For each rule that goes through a proxy: its name without the password, and what there is to say."""
    if not any(name.lower().endswith("_proxy") for name in environment):
        return {}
    from s3_file_uploader.transport.s3.endpoint import Endpoint  # noqa: PLC0415  # the whole engine
    from s3_file_uploader.transport.s3.proxy import Proxies  # noqa: PLC0415  # the whole engine
    from s3_file_uploader.transport.s3.rule_lanes import variant_of  # noqa: PLC0415  # the whole engine

    found: dict[str, tuple[str, str]] = {}
    for rule in settings.rules:
        try:
            endpoint = Endpoint.of(
                rule.bucket_name,
                rule.region,
                rule.endpoint_url,
                rule.path_style,
                variant=variant_of(rule),
            )
        except ConfigurationError:
            continue  # said where it is missing
        try:
            proxy = Proxies(environment).to(endpoint)
        except ConfigurationError as error:
            found[rule.name] = ("", f": {error}")
            continue
        if proxy is not None:
            found[rule.name] = (proxy.describe(), f" goes through the proxy {proxy.describe()}")
    return found
