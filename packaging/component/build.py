"""Builds the Greengrass component into greengrass-build/, beside the gdk-config.json of the variant.

    python3 packaging/component/build.py [--variant direct] [--wheels "linux/aarch64 py3.10-3.13"]

From any folder, of a clone of any name. gdk-config.json has it as its custom build command.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # a build leaves nothing behind but what it builds

from component_build.command import main  # noqa: E402  # after the line above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
