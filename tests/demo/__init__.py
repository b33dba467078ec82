"""The main job, to watch: images go from one registry to another, and then need not go again."""
