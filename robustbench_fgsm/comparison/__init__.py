"""Whether two implementations agree, and where they do not."""
