"""The uploader's S3 engine, as the exporter uses it."""

from s3_file_uploader.transport.s3.transport import open_s3_transport

__all__ = ["open_s3_transport"]
