"""Measure the speed of our attack, the references and the bare loop."""
