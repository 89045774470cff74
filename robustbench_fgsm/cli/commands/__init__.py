"""The commands of `rfgsm`, one file each."""
