//! All that needs no virtual machine: whole paths, crashes, stock tools both ways, bad input. The tests are in `tests/`.
