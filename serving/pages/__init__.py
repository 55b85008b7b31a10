"""What the service shows of itself: pages, and the description of its API."""
