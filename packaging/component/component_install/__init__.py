"""Runs on the device, out of the artifact: makes the environment that the program runs in, and starts it.

| file | responsibility |
|---|---|
| `command` | `install` and `run`: their order, their one line, their errors |
| `artifact` | what the artifact holds, be it an archive or a folder |
| `device` | which wheels and which environment belong to this Python on this device |
| `place` | the component's work folder: environments, their order, the lock, what may go |
| `environment` | makes one environment, beside those that are in use |
| `packages` | the installer, its surroundings, and what its failures mean |
| `launcher` | the small command for people, and the start of the program |
| `refusal` | the one kind of error, and what those of the disk mean |

Standard library only; nothing here imports the program. An environment that is complete is never changed:
a cloud deployment installs while the older version still runs.
"""
