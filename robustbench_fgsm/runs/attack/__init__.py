"""Run directories of saved adversarial images."""
