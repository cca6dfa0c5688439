"""Is this machine ready, and what does a run cost it?"""
