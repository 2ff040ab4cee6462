"""What goes wrong on purpose: the switches of `--fault`."""
