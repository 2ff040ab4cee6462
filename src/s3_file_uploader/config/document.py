"""Reads a configuration file, YAML or JSON, into plain dictionaries, lists and scalars.

Plain YAML words stay text (`off`, `012`, `1:30`, `2024-01-01` mean what they look like: the table of
settings converts them), nothing but plain data is ever constructed, and a key that stands twice is
refused: which of the two holds would be a guess. PyYAML is imported here only, when a YAML file is read.
"""

from __future__ import annotations

from typing import Any

from s3_file_uploader.config.problems import shown
from s3_file_uploader.errors import ConfigurationError

__all__ = ["read_document"]

MAX_FILE_BYTES = 4 * 1024 * 1024


def read_document(path: str) -> dict[str, object]:
    """The top level of the file; ConfigurationError when it cannot be read or is no mapping."""
    text = _read_text(path)
    document = _from_json(text, path) if path.endswith(".json") else _from_yaml(text, path)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"file {path}: the top level must be keys and values, not {shown(document)}")
    return {str(key): value for key, value in document.items()}


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"file {path}: cannot be read: {error.strerror or error}",
            advice="Look at the path after --config and at its permissions.",
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"file {path}: larger than {MAX_FILE_BYTES} bytes, so no configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"file {path}: not UTF-8 at byte {error.start}") from error


def _from_json(text: str, path: str) -> object:
    import json  # noqa: PLC0415  # only where a JSON file is read

    def refuse_constant(word: str) -> object:
        raise ConfigurationError(f"file {path}: {word} is no value of a setting")

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
            raise ConfigurationError(f"file {path}: the key {twice} stands twice")
        return found

    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"file {path}: not JSON: {error}") from error


def _from_yaml(text: str, path: str) -> object:
    import yaml  # noqa: PLC0415  # only where a YAML file is read

    class Loader(yaml.SafeLoader):
        """A safe loader to which every plain scalar is text, but for null."""

        yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {  # noqa: RUF012  # PyYAML's own protocol
            first: [(tag, form) for tag, form in resolvers if tag in _KEPT_TAGS]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _refused("a key must be a word", key)
                if key.value in seen:
                    raise _refused(f"the key {key.value} stands twice", key)
                seen.add(key.value)
            return node

    def _refused(reason: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)

    try:
        return yaml.load(text, Loader)  # noqa: S506  # the loader above is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"file {path}{place}: {error.problem or 'not YAML'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"file {path}: not YAML: {error}") from error


_KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
