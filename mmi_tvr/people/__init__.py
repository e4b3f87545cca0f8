"""Who is in a picture or a film: faces, tracks of one face through a film, and the names that people give them."""
