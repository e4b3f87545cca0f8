"""A library in the search box of a desktop: a service on the session bus, which the desktop starts when it needs it.

`service` answers calls of GNOME Shell, KDE's KRunner and programs (`interfaces`); `running` is its life; `installing`
writes the files by which a desktop knows of it; `players` opens a file at its second, also for the command line.
"""
