"""The command line: a parser made of declarations, and a module for each command that is loaded when it runs."""
