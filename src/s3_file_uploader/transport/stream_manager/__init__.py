"""The transport through Greengrass Stream Manager."""
