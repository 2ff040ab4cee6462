"""What the Greengrass component costs a device: its artifact, its installation, and running idle beside `run`.

    python -m bench.component               build, install (twice), then a minute of each
    python -m bench.component --seconds 20

The component is the built artifact, installed as on a device; the nucleus is the one of the tests.
"""

from __future__ import annotations

import argparse
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from bench import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(HERE)
_SETTLED_SECONDS = 6.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PLAIN = {"PATH": "/usr/bin:/bin", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of idleness (default: 60)")
    seconds = parser.parse_args().seconds
    print(machine.described() + "\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        artifact = _built()
        print(f"artifact: {os.path.getsize(artifact) / 1e6:.1f} MB")
        for name in ("cold", "warm"):
            began = time.monotonic()
            subprocess.run([sys.executable, "-I", "-B", artifact, "install", folder], check=True)
            print(f"install, {name}: {time.monotonic() - began:.2f} s")
        [python] = glob.glob(f"{folder}/environments/*/bin/python")
        print(f"installed: {_size(os.path.dirname(os.path.dirname(python))) / 1e6:.1f} MB")
        for line in _idle(python, folder, seconds):
            print(line)


def _built() -> str:
    build = [sys.executable, os.path.join(_ROOT, "packaging", "component", "build.py")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    [artifact] = glob.glob(f"{_ROOT}/greengrass-build/artifacts/*/*/s3-file-uploader.zip")
    return artifact


def _size(folder: str) -> int:
    return sum(
        os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names
    )


def _idle(python: str, folder: str, seconds: float) -> Iterator[str]:
    """Each transport, as a plain service and as a component."""
    sys.path.insert(0, os.path.join(_ROOT, "tests"))
    from support.nucleus import FakeNucleus  # noqa: PLC0415  # of the tests, which are no package

    program = [python, "-I", "-m", "s3_file_uploader", "run"]
    data = os.path.join(folder, "data")
    os.mkdir(data)
    for transport in ("s3", "stream-manager"):
        address = {"EndpointUrl": "http://127.0.0.1:9"} if transport == "s3" else {}
        said = {"PathName": f"{data}/*", "BucketName": "bench-bucket", "Transport": transport, **address}
        flags = [f"--{_kebab(key)}={value}" for key, value in said.items()]
        state = tempfile.mkdtemp(dir=folder)
        yield _measured(f"run, {transport}", [*program, *flags], {"STATE_DIRECTORY": state}, seconds)
        with FakeNucleus("classic", configuration=said) as nucleus:
            state = tempfile.mkdtemp(dir=folder)
            given = {**nucleus.environment(nucleus.component, state), "STATE_DIRECTORY": state}
            yield _measured(f"component, {transport}", program, given, seconds)


def _kebab(key: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in key).lstrip("-")


def _measured(name: str, command: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
    with subprocess.Popen(
        command, env={**_PLAIN, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(_SETTLED_SECONDS)
        before = _cpu_seconds(process.pid)
        time.sleep(seconds)
        share = (_cpu_seconds(process.pid) - before) / seconds
        peak = _peak_bytes(process.pid)
        process.send_signal(signal.SIGTERM)
    return f"{name}: {peak / 1e6:.1f} MB at most, {share:.3%} of a core, {before:.2f} s of CPU to start"


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def _peak_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        [kib] = [line.split()[1] for line in file if line.startswith("VmHWM:")]
    return int(kib) * 1024


if __name__ == "__main__":
    main()
