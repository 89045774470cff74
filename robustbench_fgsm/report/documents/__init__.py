"""The tables and sentences of each kind of document."""
