"""Straight to S3: the engine that speaks HTTP, signs and proves by itself."""

from __future__ import annotations

from s3_file_uploader.transport.s3.bandwidth import Bandwidth
from s3_file_uploader.transport.s3.rule_lanes import RuleLanes
from s3_file_uploader.transport.s3.transport import S3Transport, open_s3_transport

__all__ = ["Bandwidth", "RuleLanes", "S3Transport", "open_s3_transport"]
