"""One module a command: options in, exit code out. Nothing heavy is imported until a command runs."""
