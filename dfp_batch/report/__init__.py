"""What a person looks at after a run: one page, and the pictures of an item at full size."""
