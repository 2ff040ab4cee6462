"""Carrying the tasks of export streams to S3, and saying how that went."""
