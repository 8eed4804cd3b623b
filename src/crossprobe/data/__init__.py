"""From raw videos and images to a frame store split by patient."""
