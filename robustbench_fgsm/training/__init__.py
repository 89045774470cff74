"""Standard training, and training on FGSM's own images."""
