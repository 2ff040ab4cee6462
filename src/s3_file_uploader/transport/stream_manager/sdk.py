"""The official SDK of Stream Manager, and all that the project knows of it."""

from stream_manager import StreamManagerClient

__all__ = ["StreamManagerClient"]
