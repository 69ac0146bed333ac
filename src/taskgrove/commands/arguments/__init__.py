"""Arguments that refer to the document of a command, to earlier steps and to earlier runs."""
