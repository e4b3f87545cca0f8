"""Channels: what a file says and has written on it, as moments with vectors and text. One file each
(`protocols.Channel`)."""
