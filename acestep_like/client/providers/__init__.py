"""Model families behind one protocol: a file and a row of `catalogue.FAMILIES` each."""
