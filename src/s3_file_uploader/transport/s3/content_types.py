"""What a file's content is, guessed by the end of its name: what the object's Content-Type says.

A table of our own, so that every device says the same: the standard library's differs between versions
of Python and reads what the system has installed. What is compressed is said to be that, not what is in
it: a client that was told of an encoding would unpack on the way, and hold other bytes than were proven.
An ending that is not here gets no Content-Type, and the store says its own (binary/octet-stream).
"""

from __future__ import annotations

__all__ = ["content_type_of"]

_BY_TYPE = {
    "application/gzip": "gz tgz",
    "application/json": "json",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/x-ndjson": "ndjson jsonl",
    "application/msword": "doc",
    "application/octet-stream": "bin",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/toml": "toml",
    "application/vnd.apache.arrow.file": "arrow feather",
    "application/vnd.apache.avro": "avro",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/vnd.tcpdump.pcap": "pcap",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-hdf5": "h5 hdf5",
    "application/x-lz4": "lz4",
    "application/x-tar": "tar",
    "application/x-xz": "xz txz",
    "application/yaml": "yaml yml",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/jpeg": "jpg jpeg jpe",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/webp": "webp",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm",
    "text/javascript": "js mjs",
    "text/markdown": "md",
    "text/plain": "txt text log",
    "text/tab-separated-values": "tsv",
    "text/xml": "xml",
    "video/mp2t": "m2ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}
_BY_ENDING = {ending: kind for kind, endings in _BY_TYPE.items() for ending in endings.split()}


def content_type_of(name: str) -> str:
    """By the ending behind the last dot, in any case; empty where it is not known."""
    stem, dot, ending = name.rpartition(".")
    return _BY_ENDING.get(ending.lower(), "") if dot and stem and stem[-1] != "/" else ""
