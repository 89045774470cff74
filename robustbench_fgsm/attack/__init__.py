"""The fast gradient method as mathematics: tensors in, tensors out."""
