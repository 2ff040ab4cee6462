"""The settings of the server: flags, and the environment variables of the real component."""
