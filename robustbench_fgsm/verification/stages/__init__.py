"""One module for each stage of an attack: each reads the responses of the test bench, and says what was measured."""
