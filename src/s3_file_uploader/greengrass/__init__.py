"""As a component of AWS IoT Greengrass: what the nucleus tells us, and what we tell it.

| file | responsibility |
|---|---|
| `ipc` | the connection to the nucleus; the only place that knows AWS's SDK |
| `events` | what the nucleus tells without being asked |
| `configuration` | the component's configuration as settings |
| `following` | a change of configuration is read once it is quiet, checked, and taken over live |
| `deferral` | a deployment waits a bounded while for parts of large files that are under way |
| `telemetry` | the message for the fleet: what it says, and that it fits |
| `reporting` | when it is published, and where |
| `component` | brings them together beside a running uploader |

awsiotsdk is imported in `ipc` and nowhere else, and only when a nucleus has started us.
"""
