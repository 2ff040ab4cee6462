"""A fake AWS IoT Greengrass nucleus, of either kind, for components that are to be tested without a device.

`FakeNucleus` speaks the IPC on a real socket; `Installed` runs a recipe's scripts as that nucleus would.
What the two kinds do differently is one list, in `kinds`.
"""

from __future__ import annotations

from support.nucleus.deployments import Deferred
from support.nucleus.kinds import CLASSIC, LITE
from support.nucleus.recipe import Installed, RecipeRefused
from support.nucleus.script import Script
from support.nucleus.server import FakeNucleus

__all__ = ["CLASSIC", "LITE", "Deferred", "FakeNucleus", "Installed", "RecipeRefused", "Script"]
