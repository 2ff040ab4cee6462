"""What the program tells about itself: its log, and a snapshot of its ledger."""
