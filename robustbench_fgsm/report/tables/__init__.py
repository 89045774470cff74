"""The table model and its renderers."""
