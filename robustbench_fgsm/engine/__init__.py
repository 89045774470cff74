"""Attacks over a data set: batches, plans, memory, processes, and the outcomes of each image."""
