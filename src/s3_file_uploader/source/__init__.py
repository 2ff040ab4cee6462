"""The device's side: which files there are, whether they are finished, and how they leave the disk."""
