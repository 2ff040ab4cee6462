"""What stands on the wire: frames, operations, definitions, status codes."""
