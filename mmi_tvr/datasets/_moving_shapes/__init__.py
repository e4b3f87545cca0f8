"""Moving shapes: a made-up world in which it is known exactly what happens.

dice       stable random integers
world      Spec: what a video holds, and whether a description is true of it
generate   seeded specs, their twins, the splits
captions   what happens, in English (`chinese`: in Chinese); `stills`: what one moment shows
questions  questions and their true answers
contrast   pairs of videos that differ in one thing, and their score
example    a dozen videos to show
motion     where everything is at a time
picture    pixels
video      H.264 files
"""
