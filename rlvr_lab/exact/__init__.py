"""Small worlds in which every expectation is a finite sum."""
