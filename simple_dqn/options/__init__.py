"""What can be set: the table of options, command lines, presets, what files may say."""
