"""Rooms for people: the watched game, windows, films, pages and plots."""
