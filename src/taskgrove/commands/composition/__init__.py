"""What MainTaskComposer works with: context, guards, arguments and limits."""
