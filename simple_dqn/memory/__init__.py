"""What the replay memory is made of: where observations are kept, and how they are drawn."""
