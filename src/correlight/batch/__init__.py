"""Many pairs: a table of them registered side by side on one machine or a cluster, so that nothing finished is lost."""
