"""The other kinds of picture: faces, stickers, palettes, and all that has words in it."""
