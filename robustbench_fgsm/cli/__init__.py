"""The command line: parse, call, write. Only this package prints."""
