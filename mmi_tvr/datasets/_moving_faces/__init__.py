"""Moving faces: drawn people, of whom it is known exactly who they are, what they do and where.

looks      what a face is made of: 14 parameters, and how many two faces differ in
identities 400 people for training, 100 for validation, 100 for testing, and their names
scenes     who does what where, with all that varies from picture to picture; the splits
captions   what is to be seen, in English: descriptions, names, sentences with a handle
picture    pixels, and where in them the face is
"""
