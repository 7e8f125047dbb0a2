"""Methods: what each of them is given, what it hands over, and how a recipe finds it by name.

There are four kinds. An appearance makes images of unlike instruments comparable, a search finds poses, a refinement
makes the best of them exact, and evidence says how far to trust it. `correlight.methods.protocols` states what each
must offer, `correlight.methods.registry` lists those that there are; other packages add theirs by an entry point.
"""
