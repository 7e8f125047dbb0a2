"""Search: where, which way round and how large one image lies in the other, from nothing."""
