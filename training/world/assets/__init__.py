"""What the world is drawn with: icons, fonts, clip art, all fetched once; the nouns they stand for."""
