"""The demonstration: a real S3 server, a producer and the real `run`, on one machine, in one command.

Tests and benchmarks start the same server with the same code. Nothing outside this package and
`cli/demo_command.py` may need it: the demo is no part of what a device runs.
"""
