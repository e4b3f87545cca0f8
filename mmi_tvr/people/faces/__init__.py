"""Face encoders: where faces are in a picture, and a unit vector for each. One file each (`protocols.FaceEncoder`)."""
