"""The parts of MainTaskComposer: context, guards, arguments and limits."""
