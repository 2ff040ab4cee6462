"""`python -m stream_manager_local`."""

from stream_manager_local.command import main

if __name__ == "__main__":
    raise SystemExit(main())
