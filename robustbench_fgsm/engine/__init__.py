"""What an attack did, in integers that add, and the rates that follow from them."""
