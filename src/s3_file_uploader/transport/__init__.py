"""What carries files to their objects. The contract is in `contract`, the engine in `s3`."""
