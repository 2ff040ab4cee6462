"""Connections and the answers that clients get."""
