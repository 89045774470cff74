"""Other attack libraries and users' candidates behind the signature of our `fgsm`."""
