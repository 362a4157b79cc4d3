"""Files that go through a C library, read in a process of their own that may fail.

    parent                                   child: python -m warmstart.formats.child
    {"module", "path", "options", ...}  -->  limits itself, opens the file
    {"specs", "metadata", ...}          <--
    {"read": name, "index": ...}        -->  reads
    {"nbytes"} and the values           <--

Messages are `frames`: lengths, JSON and raw bytes, never pickles.  Everything the child says is
checked like bytes from outside, since a hostile file may have taken it over.

The child has a bound on its address space and its processor time, writes no file, leaves no core,
works in an empty folder with a cleared environment, and ends with its parent.  On Linux it has no
network where the system lets it give that up.  It is no sandbox: code that takes it over can read
what the user can read.
"""

from .source import open_in_child as open_in_child
