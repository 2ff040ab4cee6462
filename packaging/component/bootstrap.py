"""The artifact's `__main__.py`: `install WORK` and `run WORK`, as the recipe calls them.

It must parse on every Python from 2.7 on, to say in one line that this one is too old, instead of leaving a
syntax error in the component's log. All the rest is in `component_install`, which may be as new as the program.
"""

from __future__ import print_function

import os
import sys

OLDEST = (3, 10)


def main():
    if sys.version_info < OLDEST:
        sys.stderr.write(
            "s3-file-uploader needs Python %d.%d or newer, and %s is Python %d.%d. Try: install a newer python3 "
            "(Debian, Ubuntu: sudo apt install python3), then deploy again.\n"
            % (OLDEST + (sys.executable or "this",) + sys.version_info[:2])
        )
        return 1
    # The artifact belongs to the nucleus: nothing is written into it (-B in the recipe says it of this file).
    sys.dont_write_bytecode = True
    from component_install.command import main as install_or_run

    return install_or_run(sys.argv[1:], os.path.dirname(os.path.abspath(__file__)))


if __name__ == "__main__":
    sys.exit(main())
