"""Settings: Greengrass names, as in a recipe, a file or flags, and typed values, with their origin.

| file | responsibility |
|---|---|
| `settings`, `rule_device`, `rule_objects`, `rule_ways` | the one table: each setting's name, type, bounds, default and meaning |
| `declaration` | what a row of it says |
| `fields` | the table, row by row, and the conversion of one value |
| `notation`, `units` | how each sort of value is written |
| `document` | YAML and JSON files |
| `arguments`, `environment` | SRC and DST; AWS's variables, profiles, folders |
| `loading` | precedence, and all problems at once |
| `machine` | what a machine of this size can afford |
| `attribute_notation`, `attribute_combinations` | what S3 takes as attributes of objects |
| `destination` | which rules share a way to the store |
| `difference` | what two configurations differ in |
| `carriage` | which settings a transport has a use for, and which it cannot carry |
| `completion`, `combinations` | what follows from other settings, and what does not go together |
| `flags`, `json_schema`, `presentation`, `reference` | what else derives from the table |

msgspec and PyYAML are imported below this package and nowhere else.
"""

from __future__ import annotations

from s3_file_uploader.config.carriage import needs_store, stream_manager_port
from s3_file_uploader.config.destination import manner_of, place_of
from s3_file_uploader.config.difference import Difference, difference
from s3_file_uploader.config.flags import add_flags, flags_given
from s3_file_uploader.config.json_schema import schema
from s3_file_uploader.config.loading import Loaded, load
from s3_file_uploader.config.machine import files_in_flight
from s3_file_uploader.config.presentation import as_json, show
from s3_file_uploader.config.settings import Rule, Settings

__all__ = [
    "Difference",
    "Loaded",
    "Rule",
    "Settings",
    "add_flags",
    "as_json",
    "difference",
    "files_in_flight",
    "flags_given",
    "load",
    "manner_of",
    "needs_store",
    "place_of",
    "schema",
    "show",
    "stream_manager_port",
]
