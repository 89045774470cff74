"""Find the definitions, units and known mistakes that give a reported number."""
