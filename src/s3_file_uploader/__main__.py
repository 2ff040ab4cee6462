"""`python -m s3_file_uploader` is the command `s3-file-uploader`."""

from __future__ import annotations

import sys

from s3_file_uploader.cli import main

if __name__ == "__main__":
    sys.exit(main())
