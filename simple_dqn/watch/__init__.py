"""Games to watch: the watched game, windows, terminal, films, pages of filters."""
