"""What single trials do around the mean, without a network: whitening, covariance, power."""
