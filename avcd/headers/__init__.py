"""From files to frames: what lies in a drop directory, read in place, with the source of every value.

``reading`` opens files and archives, ``identity`` names a frame by what it holds, ``translation`` turns a header and a
path into a Frame by the rules of a ``profiles`` profile, which is data in config/instruments.
"""
