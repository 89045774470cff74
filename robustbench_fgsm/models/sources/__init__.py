"""The sources of models, one file each."""
