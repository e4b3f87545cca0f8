"""Key image methods: frames -> the K pictures that stand for a video. One file per method."""
