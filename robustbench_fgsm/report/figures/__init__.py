"""Figures of documents, drawn with Matplotlib."""
