"""Tools for a folder of videos and the lists that name them: what `zoo data` does."""
