"""Starts SeaweedFS with a bucket, says in one line of JSON how to use it, and ends with its standard input."""

from __future__ import annotations

import json
import sys

from s3_file_uploader.demo.seaweed import SeaweedFS

with SeaweedFS() as server:
    server.bucket(sys.argv[1]).create()
    sys.stdout.write(json.dumps(server.environment) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
