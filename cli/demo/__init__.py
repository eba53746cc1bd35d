"""`setr demo` and `setr demo-check`: the main job on a drawn catalog, as a client would do it."""
