"""Standard training and adversarial training with FGSM."""
