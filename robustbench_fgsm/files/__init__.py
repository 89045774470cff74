"""The door to the disk: all other modules open, read and write files through these functions."""
