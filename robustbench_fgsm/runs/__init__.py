"""Run directories: what a command was run with, its parts, and its result."""
