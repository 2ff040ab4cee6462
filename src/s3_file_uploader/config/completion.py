"""Values that follow from others: what DoneMarker implies, the region, the ledger's name and folder."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import environment as surroundings
from s3_file_uploader.config.carriage import leave_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3_file_uploader.config.settings import Rule

__all__ = ["complete_process", "complete_rule", "ledger_name"]

_NAME_BYTES = 5  # of the hash in a derived name: ten digits
_AWS_ENDPOINT = r"[/.]amazonaws\.[a-z.]+(:[0-9]+)?(/|$)"  # these sign with the bucket's own region
_REGION_OF_OTHER_STORES = "us-east-1"


def complete_rule(
    values: dict[str, Any], origins: dict[tuple[str, str], str], environment: Mapping[str, str]
) -> None:
    """Fill in what other values of the same rule imply."""
    name = values["name"]
    if values["done_marker"] and origins[name, "ActiveFile"] == "default":
        values["active_file"] = "none"
        origins[name, "ActiveFile"] = "implied by DoneMarker"
    if values["transport"] == "stream-manager" and values["key_escape"] == "auto":
        values["key_escape"] = "strict"
        origins[name, "KeyEscape"] = "implied by Transport stream-manager"
    leave_out(values, origins)
    if values["region"] or (values["transport"] == "stream-manager" and values["verify"] == "trust"):
        return
    region = surroundings.profile_region(values["profile"], environment)
    if region:
        values["region"] = region
        origins[name, "Region"] = f"profile {values['profile'] or 'default'} of AWS's configuration"
    elif values["endpoint_url"] and not re.search(_AWS_ENDPOINT, values["endpoint_url"], re.IGNORECASE):
        values["region"] = _REGION_OF_OTHER_STORES
        origins[name, "Region"] = "default with EndpointUrl"


def complete_process(
    values: dict[str, Any],
    rules: Sequence[Rule],
    origins: dict[tuple[str, str], str],
    environment: Mapping[str, str],
    user_id: int | None = None,
) -> None:
    """Fill in the ledger's name and the folder it lives in."""
    if "name" not in values:
        values["name"] = ledger_name(rules)
        origins["", "Name"] = "derived from the rules"
    if "state_directory" not in values:
        user_id = os.geteuid() if user_id is None else user_id
        folder, origin = surroundings.state_directory(environment, user_id=user_id)
        values["state_directory"] = folder
        origins["", "StateDirectory"] = origin


def ledger_name(rules: Sequence[Rule]) -> str:
    """A folder's name that these rules get each time: readable words and a short hash.

    Only PathName, BucketName and ObjectKeyPrefix make it, in any order of the rules: what tunes a
    rule must not lose its ledger.
    """
    said = sorted((rule.path_name, rule.bucket_name, rule.object_key_prefix) for rule in rules)
    text = "\0".join(part for each in said for part in each)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:_NAME_BYTES].hex()
    words = f"{_folder_word(said[0][0])}-{said[0][1]}" if said else "empty"
    return f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')[:48] or 'rules'}-{digest}"


def _folder_word(path_name: str) -> str:
    """The last folder that has no wildcard."""
    plain = [part for part in path_name.split("/")[:-1] if part and not set(part) & set("*?[")]
    return plain[-1] if plain else "root"
