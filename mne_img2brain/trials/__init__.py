"""What a regressor is given: checked trials with their images, splits, pooled and scaled tokens."""
