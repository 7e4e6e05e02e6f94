"""One file per tab: its layout and its bindings."""
